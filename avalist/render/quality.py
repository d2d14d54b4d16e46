"""How good the models were: ranking, money, frontier, calibration, what they use, examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from avalist.app.examples import Example
from avalist.app.report import FitReport, FoldQuality, Quality
from avalist.app.segments import APPROVAL, Segment
from avalist.models.judge import MOST_OFF, Level
from avalist.models.metrics import APPROVAL_RATES, Interval, Report
from avalist.policy.frontier import Outcome
from avalist.render.blocks import Bars, Block, Chart, Heading, Mark, Pair, Series, Style, Table, Text
from avalist.render.numbers import NOTHING, at, between, count, day, measured, money, number, percent

_TABLE_RATES = (1.0, 0.995, 0.99, 0.98, 0.97, 0.95, 0.90)
_FAMILIES = 10
_FEWEST_EXPECTED = 3.0
"""A level of fewer expected frauds is in the table and not in the plot."""


def at_rate(report: FitReport, rate: float) -> Outcome:
    """Return the frontier's outcome nearest to an approval rate."""
    return min(report.frontier, key=lambda o: abs(o.approval_rate - rate))


def quality(report: FitReport) -> Iterator[Block]:
    """Yield the blocks on quality; none where nothing could be judged."""
    q = report.quality
    if q is None:
        return
    yield Heading("How well the models told fraud from honest payments")
    yield _ranking(q.metrics)
    yield _folds(report, q)
    yield from _frontier(report)
    yield from _calibration(q)
    yield from _segments(report)
    yield from _uses(report)
    yield from _examples(report)


def _precise(interval: Interval, digits: int = 3) -> tuple[str, str]:
    return f"{interval.value:.{digits}f}", f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def _ranking(m: Report) -> Table:
    rows: list[tuple[str, ...]] = [
        ("average precision", *_precise(m.average_precision), f"by chance {m.prevalence:.4f} (the prevalence)"),
        ("area under the ROC curve", *_precise(m.roc_auc), "by chance 0.5"),
        *(
            (
                f"fraud money stopped at {percent(rate)} approval",
                percent(i.value),
                between(i),
                f"by chance {percent(1.0 - rate)}",
            )
            for rate, i in zip(APPROVAL_RATES, m.value_recall, strict=True)
        ),
        ("observed / expected fraud", *_precise(m.observed_expected, 2), "1 is calibrated"),
    ]
    caption = f"{count(m.rows)} graded payments, {count(m.frauds)} of them reported as fraud"
    return Table(("", "value", "90 % interval", "to compare"), tuple(rows), caption)


_FOLD = (
    "learnt by",
    "payments learnt",
    "frauds known",
    "graded / frauds",
    "prevalence",
    "average precision",
    "AUC",
    "stopped at 99 %",
    "observed / expected",
)


def _folds(report: FitReport, q: Quality) -> Table:
    trees, most = report.evaluation.params.trees, report.evaluation.most_rows
    return Table(
        _FOLD,
        tuple(_fold(fold) for fold in q.folds),
        "Cut by cut: each model knew what was logged by its day. These models are lighter than the one that ships: "
        f"{trees} trees and the last {count(most)} payments at most.",
    )


def _fold(fold: FoldQuality) -> tuple[str, ...]:
    m, learnt = fold.metrics, (day(fold.cut_ms), count(fold.learnt_rows), count(fold.learnt_frauds))
    if m is None:
        return (*learnt, "too young", *[NOTHING] * (len(_FOLD) - 4))
    ap = m.average_precision
    return (
        *learnt,
        f"{count(m.rows)} / {count(m.frauds)}",
        f"{m.prevalence:.4f}",
        f"{ap.value:.3f} ({ap.low:.3f} to {ap.high:.3f})",
        f"{m.roc_auc.value:.3f}",
        percent(m.value_recall[2].value),
        f"{m.observed_expected.value:.2f}",
    )


def _band(name: str, xs: tuple[float, ...], found: Sequence[Interval], style: Style = "line") -> Series:
    """Return a series of intervals."""
    low, high = tuple(i.low for i in found), tuple(i.high for i in found)
    return Series(name=name, x=xs, y=tuple(i.value for i in found), low=low, high=high, style=style)


def _frontier(report: FitReport) -> Iterator[Block]:
    currency, best = report.census.base_currency, report.economic
    assert best is not None
    yield Heading("Approval, chargebacks, profit")
    yield Text(
        "Each point declines the riskiest payments down to an approval rate. 'Approve all' is what was done with "
        "these payments. "
        "'By profit' declines a payment where its expected loss outweighs its margin."
    )
    points = [o for o in report.frontier if o.approval_rate >= 0.90 - 1e-9]
    xs = tuple(o.approval_rate for o in points)
    marks = min(max(best.approval_rate, xs[-1]), 1.0)
    gains = Chart(
        title="Profit against approving all",
        x_label="approval rate",
        y_label=f"gain in {currency}",
        x_format="percent",
        y_format="money",
        currency=currency,
        level=(0.0, "approve all"),
        series=(_band("gain", xs, [o.gain_minor for o in points]),),
        marks=(Mark(marks, best.gain_minor.value, "by profit"),),
    )
    rates = Chart(
        title="Chargebacks among what is approved, by value",
        x_label="approval rate",
        y_label="share of the approved money",
        x_format="percent",
        y_format="percent",
        series=(_band("by value", xs, [o.chargebacks_value for o in points]),),
        marks=(Mark(marks, best.chargebacks_value.value, "by profit"),),
    )
    yield Pair(gains, rates)
    yield _outcomes(report, best)
    yield from _before(report)


def _outcomes(report: FitReport, best: Outcome) -> Table:
    currency = report.census.base_currency
    rows = [_outcome(percent(rate), at_rate(report, rate), currency) for rate in _TABLE_RATES]
    rows[0] = ("approve all", *rows[0][1:])
    rows.append(_outcome(f"by profit ({percent(best.approval_rate)})", best, currency))
    head = (
        "approve",
        "declined",
        "of them not reported",
        "fraud money stopped",
        "chargebacks by count",
        "by value",
        "gain",
        "90 % interval",
    )
    return Table(head, tuple(rows))


def _outcome(name: str, o: Outcome, currency: str) -> tuple[str, ...]:
    return (
        name,
        count(o.declined),
        count(o.false_declines),
        f"{percent(o.stopped.value)} ({between(o.stopped)})",
        percent(o.chargebacks.value),
        percent(o.chargebacks_value.value),
        money(o.gain_minor.value, currency),
        between(o.gain_minor, "money", currency),
    )


def _before(report: FitReport) -> Iterator[Block]:
    before, c = report.as_before, report.census
    if before is None:
        yield Text(
            "The log shows no payment that was refused before an issuer answered, so there is no old policy to "
            "compare with "
            "beyond 'approve all'.",
            "small",
        )
        return
    yield Text(
        f"Then: of {count(before.taken + before.refused)} payments that no issuer declined, {count(before.taken)} "
        f"were captured "
        f"and {count(before.refused)} were not: declined by you or a tool of yours, abandoned, or voided; the log "
        f"does not say "
        f"which. At the same approval rate the models stop {money(before.stopped_minor, c.base_currency)} of "
        f"{money(before.fraud_minor, c.base_currency)} and let in {count(before.let_in)} of the payments not "
        f"captured. These have no "
        f"labels. By the models' own estimate they hold {money(before.let_in_fraud_minor, c.base_currency)} of "
        f"fraud; less that, "
        f"{percent(before.balance.value)} is stopped ({between(before.balance)})."
    )


def _calibration(q: Quality) -> Iterator[Block]:
    yield Heading("Are the probabilities right?")
    yield Text(
        "Observed over expected: 1 means that as much fraud was reported as the models said. Above 1 they said too "
        "little. "
        "Expected are the reports that should be in by now, so those still to come are allowed for. A trend by age "
        "says that the delay law is wrong, or that fraud has changed in a way that the models did not see."
    )
    if off := tuple(_age(level) for level in q.by_age if level.off):
        yield Text(f"Off by more than {MOST_OFF:g} times at the ages of {', '.join(off)} days.", "warning")
    risks = _levels(q.by_decile, "By risk: tenths of equal expected fraud", "safest to riskiest")
    ages = _levels(q.by_age, "By age when the data end", "days since the payment", aged=True)
    drawn = [chart for chart in (risks, ages) if chart.series[0].x]  # too little fraud tells nothing
    yield from (Pair(*drawn),) if len(drawn) == 2 else drawn
    rows = tuple(_level(level, _risk(level)) for level in q.by_decile) + tuple(
        _level(level, f"age {_age(level)} days") for level in q.by_age
    )
    yield Table(("probability", "payments", "expected", "observed", "observed / expected", "90 % interval"), rows)


def _risk(level: Level) -> str:
    return f"{percent(level.low)} to {percent(level.high)}"


def _age(level: Level) -> str:
    return f"{level.low:g}+" if level.high > 10_000 else f"{level.low:g}–{level.high:g}"


def _level(level: Level, name: str) -> tuple[str, ...]:
    return name, count(level.payments), number(level.expected), number(level.observed), *_precise(level.ratio, 2)


def _levels(levels: tuple[Level, ...], title: str, x_label: str, *, aged: bool = False) -> Chart:
    levels = tuple(level for level in levels if level.expected >= _FEWEST_EXPECTED)
    xs = tuple(float(i + 1) for i in range(len(levels)))
    return Chart(
        title=title,
        x_label=x_label,
        y_label="observed / expected",
        level=(1.0, ""),
        x_ticks=tuple((x, _age(level) if aged else f"{x:g}") for x, level in zip(xs, levels, strict=True)),
        series=(_band("observed / expected", xs, [level.ratio for level in levels], "points"),),
    )


def _segments(report: FitReport) -> Iterator[Block]:
    if not report.segments:
        return
    yield Heading("By segment")
    yield Text(
        f"One threshold for all: the one that approves {percent(APPROVAL)} of the payments. A segment that is declined "
        "far more often than its fraud rate asks for, or whose observed / expected is far from 1, is one that the "
        "models do not understand yet."
    )
    head = ("", "payments", "fraud rate", "declined", "fraud money stopped", "90 % interval", "observed / expected")
    for by, group in groupby(report.segments, key=lambda segment: segment.by):
        yield Table((by, *head[1:]), tuple(_segment(segment) for segment in group))


def _segment(segment: Segment) -> tuple[str, ...]:
    named = segment.name, count(segment.payments), percent(segment.fraud_rate), percent(segment.declined)
    if segment.stopped is None or segment.level is None:
        return (*named, "too few frauds", NOTHING, NOTHING)
    level = segment.level
    return (
        *named,
        percent(segment.stopped.value),
        between(segment.stopped),
        f"{level.value:.2f} ({level.low:.2f} to {level.high:.2f})",
    )


def _uses(report: FitReport) -> Iterator[Block]:
    currency = report.census.base_currency
    yield Heading("What the model uses")
    shown = report.families[:_FAMILIES]
    yield Bars(
        title="Families of features, by how far they move the score",
        labels=tuple(f.name for f in shown),
        values=tuple(f.share for f in shown),
        caption="Share of all movement: mean absolute contribution in log-odds over graded payments.",
    )
    rows = tuple((f.name, count(f.columns), f"{f.movement:.2f}", percent(f.share), percent(f.gain)) for f in shown)
    yield Table(("family", "features", "movement, log-odds", "share of movement", "share of gain"), rows)
    columns = tuple(
        (c.words, f"{c.movement:.3f}", measured(c.honest, c.unit, currency), measured(c.fraud, c.unit, currency))
        for c in report.columns
    )
    yield Table(("feature", "movement, log-odds", "typical when honest", "typical when fraud"), columns)


def _examples(report: FitReport) -> Iterator[Block]:
    if report.examples is None:
        return
    yield Heading("Examples, at 99 % approval")
    yield Text(
        "An id is the first ten hex digits of the SHA-256 of the payment id, so that you can find the payment. "
        "Whoever can guess your payment ids can too. The reasons moved the score most; + towards fraud.",
        "small",
    )
    for caption, shown in (
        ("Largest frauds that would have been stopped", report.examples.stopped),
        ("Largest frauds that would have been missed", report.examples.missed),
        ("Payments without a report that looked riskiest", report.examples.false_alarms),
    ):
        if shown:
            rows = tuple(_example(e, report.census.base_currency) for e in shown)
            yield Table(("id", "reasons", "when (UTC)", "amount", "probability"), rows, caption, text_columns=2)


def _example(e: Example, currency: str) -> tuple[str, ...]:
    why = "; ".join(
        f"{'+' if w.contribution > 0 else '−'} {w.words}: {measured(w.value, w.unit, currency)}" for w in e.why
    )
    return e.id, why, at(e.t_ms), money(e.amount_minor, currency), percent(e.p_fraud)
