"""The report in words and plots: what would have happened comes first, what cannot be known comes last."""

from __future__ import annotations

from collections.abc import Iterator

from avalist.app.report import FitReport
from avalist.domain.schema import DAY_MS
from avalist.render.blocks import Block, Chart, Figure, Figures, Heading, Mark, Page, Series, Text
from avalist.render.challengers import champion
from avalist.render.detail import detail
from avalist.render.drift import drift
from avalist.render.limits import limits
from avalist.render.numbers import between, count, day, money, percent
from avalist.render.past_waves import past_waves
from avalist.render.pattern_choice import pattern_choice
from avalist.render.quality import at_rate, quality
from avalist.render.spent import spent

_SHOWN_TO = 0.95
_TOO_LITTLE = 1.15
"""An interval beyond this factor is worth a warning."""


def story(report: FitReport) -> Page:
    """Return the report as a page."""
    counted = report.census
    subtitle = (
        f"{count(counted.payments)} payments from {day(counted.first_ms)} to {day(counted.last_ms)}"
        + (f", from {report.file}" if report.file else "")
        + (f"; model {report.model}" if report.model else "")
    )
    return Page(f"What Avalist would have done for {report.merchant}", subtitle, tuple(_blocks(report)))


def _blocks(report: FitReport) -> Iterator[Block]:
    if report.simulated:
        yield Text("The payments are simulated. Nothing here says what happens with real ones.", "warning")
    if report.quality is None:
        yield Text(f"No model can be judged yet: {report.too_few}.", "lead")
        yield Text("What follows describes the data; the rest of the report comes with more history.")
    else:
        yield from (Text(sentence, "lead") for sentence in headline(report))
        yield from _off(report)
        yield stopped_curve(report)
        yield Figures(tuple(five_figures(report)))
        yield Text(
            f"Intervals are 90 % and draw whole {report.quality.block}s of payments together. Each payment was "
            f"judged by "
            "a model that had learnt only from what was logged before its own stretch of days began.",
            "small",
        )
    yield from detail(report)
    yield from quality(report)
    yield from spent(report.spent, report.census.base_currency)
    yield from drift(report.health, report.quality.by_time if report.quality else ())
    yield from champion(report.challengers, report.census.base_currency)
    yield from past_waves(report.waves, report.census.base_currency)
    yield from pattern_choice(report.patterns)
    yield Heading("What this report cannot tell")
    yield limits(report)


def _off(report: FitReport) -> Iterator[Text]:
    """Warn where the probabilities were clearly wrong: the ranking may be good all the same, the profit is not."""
    assert report.quality is not None
    level = report.quality.metrics.observed_expected
    if level.low > _TOO_LITTLE or level.high < 1.0 / _TOO_LITTLE:
        yield Text(
            f"The probabilities were off: {level.value:.2f} times the fraud that the models expected was reported "
            f"({level.low:.2f} to {level.high:.2f}). Decisions by profit suffer from that; decisions by rank do not.",
            "warning",
        )


def headline(report: FitReport) -> tuple[str, ...]:
    """Return the three sentences of the first screen."""
    q, money_of = report.quality, report.census.base_currency
    assert q is not None
    share = q.fraud_minor / max(q.graded_minor, 1)
    begin = (
        f"Of {money(q.graded_minor, money_of)} taken in {count(q.metrics.rows)} payments from {day(q.from_ms)} to "
        f"{day(q.to_ms)}, {money(q.fraud_minor, money_of)} ({percent(share)}) was later reported as fraud."
    )
    return begin, _stopped(report), _earned(report)


def _stopped(report: FitReport) -> str:
    currency, before = report.census.base_currency, report.as_before
    if before is not None:
        return (
            f"At the same approval rate as then ({percent(before.approval_rate)}) you would have stopped "
            f"{money(before.stopped_minor, currency)} of that ({percent(before.stopped.value)}; "
            f"{between(before.stopped)}) and let in {count(before.let_in)} payments that were refused, with "
            f"{money(before.let_in_fraud_minor, currency)} of fraud by the model's own estimate: nobody knows their "
            f"labels."
        )
    found = at_rate(report, 0.99)
    false = found.false_declines / max(found.declined, 1.0)
    return (
        f"All of these payments were approved; had you declined the riskiest 1 % of them, you would have stopped "
        f"{money(found.stopped_minor, currency)} of the fraud ({percent(found.stopped.value)}; "
        f"{between(found.stopped)}), and "
        f"{count(found.false_declines)} of the {count(found.declined)} declined ({percent(false)}) had no fraud report."
    )


def _earned(report: FitReport) -> str:
    best, currency = report.economic, report.census.base_currency
    assert best is not None
    gain = best.gain_minor
    verdict = (
        "more than approving all of them"
        if gain.low > 0
        else "less than approving all of them"
        if gain.high < 0
        else "against approving all of them, which is not clearly a gain"
    )
    earned = -gain.value if gain.high < 0 else gain.value
    return (
        f"Deciding each payment by its expected profit, you would have approved {percent(best.approval_rate)} and "
        f"earned {money(earned, currency)} {verdict} ({between(gain, 'money', currency)}), if the margins and costs "
        f"assumed below are yours."
    )


def stopped_curve(report: FitReport) -> Chart:
    """Return the plot of the first screen: fraud money stopped against payments declined."""
    points = [o for o in report.frontier if o.approval_rate >= _SHOWN_TO - 1e-9]
    marked = at_rate(report, 0.99)
    return Chart(
        title="Fraud money stopped, by how many payments are declined",
        x_label="payments declined, riskiest first",
        y_label="fraud money stopped",
        x_format="percent",
        y_format="percent",
        series=(
            Series(
                name="the models",
                x=tuple(1.0 - o.approval_rate for o in points),
                y=tuple(o.stopped.value for o in points),
                low=tuple(o.stopped.low for o in points),
                high=tuple(o.stopped.high for o in points),
            ),
            Series(
                name="by chance",
                x=(0.0, 1.0 - points[-1].approval_rate),
                y=(0.0, 1.0 - points[-1].approval_rate),
                style="dashed",
                colour=3,
            ),
        ),
        marks=(Mark(0.01, marked.stopped.value, f"1 % declined: {percent(marked.stopped.value)} stopped"),),
        caption="Judged on payments that the models had not seen. The band is the 90 % interval.",
    )


def five_figures(report: FitReport) -> Iterator[Figure]:
    """Yield the five figures that matter."""
    q, best, currency = report.quality, report.economic, report.census.base_currency
    assert q is not None
    assert best is not None
    at99, m = at_rate(report, 0.99), q.metrics
    days = max((q.to_ms - q.from_ms) / DAY_MS, 1.0)
    month = best.gain_minor.value * 30.0 / days
    yield Figure("fraud money stopped at 99 % approval", percent(at99.stopped.value), between(at99.stopped))
    yield Figure(
        "gained by deciding on profit, per 30 days", money(month, currency), f"approving {percent(best.approval_rate)}"
    )
    yield Figure(
        "chargebacks by value at 99 % approval",
        percent(at99.chargebacks_value.value),
        f"{percent(report.frontier[0].chargebacks_value.value)} approving all",
    )
    ap = m.average_precision
    yield Figure("average precision", f"{ap.value:.3f}", f"{ap.low:.3f} to {ap.high:.3f}; by chance {m.prevalence:.4f}")
    level = m.observed_expected
    yield Figure(
        "observed / expected fraud", f"{level.value:.2f}", f"{level.low:.2f} to {level.high:.2f}; 1 is calibrated"
    )
