"""What a report cannot tell, said with the numbers it is about."""

from __future__ import annotations

from collections.abc import Iterator

from avalist.app.grade import ENOUGH
from avalist.app.report import FitReport, Quality
from avalist.render.blocks import Listing
from avalist.render.numbers import count, number, percent


def limits(report: FitReport) -> Listing:
    """Return the limits that apply to a report."""
    return Listing((*_of_data(report), *(_of_quality(report, report.quality) if report.quality else ())))


def _of_data(report: FitReport) -> Iterator[str]:
    c = report.census
    if report.simulated:
        yield "The payments are simulated, so no number here carries over to a real shop."
    else:
        yield "Whether the payments are real is not something that the log can tell."
    refused = c.issuer_declined + c.approved_only + c.silent
    yield (
        f"Only captured payments have labels. {count(refused)} of {count(c.payments)} were not captured; what they "
        f"would have "
        "become is unknown, and a model that learns from what was let in inherits the blind spots of whoever let it in."
        if refused
        else "All payments were captured, as far as the data say. If some were declined before they reached this "
        "file, the models "
        "never saw what was declined, and their numbers hold for the rest alone."
    )
    if c.outcomes.get("label", 0):
        yield (
            "Labels without a report date got one from the declared delay law. The evaluation then shows how models do "
            "if reports "
            "come that late; with the true dates it may come out better or worse."
        )
    yield "A fraud that nobody reported counts as honest; a chargeback by an honest customer counts as fraud."
    yield "Fraudsters react to being declined. A report about the past cannot show that."


def _of_quality(report: FitReport, q: Quality) -> Iterator[str]:
    m = q.metrics
    yield (
        f"{count(m.frauds)} frauds carry the numbers on quality"
        + (": that is few, so trust the intervals and not the values." if m.frauds < 4 * ENOUGH else ".")
        + f" Intervals draw {q.block}s and do not cover a change of fraud that the data never saw."
    )
    yield (
        f"Payments are graded when {percent(q.maturity)} of their fraud should be reported; on average "
        f"{percent(q.reported)} was. "
        "The missing reports make money stopped and prevalence a little low."
    )
    yield (
        f"{len(q.folds)} cuts, one model each, one set of parameters, tried once: nothing was tuned on this file. "
        f"The models judged are lighter ({report.evaluation.params.trees} trees at most) than the one that ships."
    )
    yield (
        "Profit assumes that a declined honest customer costs the margin and the lifetime value declared, and that "
        "a fraud "
        f"costs the goods and {number(report.policy.dispute_share)} chargebacks per report. Refunds, reviews and "
        f"3-D Secure are left out."
    )
    yield "How fast a new wave is noticed is not measured here."
