"""A backtest in words and plots: what would change comes first, what cannot be known before any figure about it."""

from __future__ import annotations

from collections.abc import Iterator

from avalist.app.compared import Backtest, Compared, OffPolicy
from avalist.models.metrics import Interval
from avalist.models.off_policy import MOST_WEIGHT, Estimate
from avalist.render.blocks import Block, Chart, Figure, Figures, Heading, Listing, Page, Pair, Series, Table, Text
from avalist.render.numbers import between, count, day, money, percent


def backtest_page(made: Backtest) -> Page:
    """Return a backtest as a page."""
    subtitle = (
        f"{count(made.whole.payments)} payments from {day(made.from_ms)} to {day(made.to_ms)}, "
        f"with what was known on {day(made.cut_ms)}"
    )
    return Page(f"{made.merchant}: {made.asked}", subtitle, tuple(_blocks(made)))


def _blocks(made: Backtest) -> Iterator[Block]:
    if made.simulated:
        yield Text("The payments are simulated. Nothing here says what happens with real ones.", "warning")
    yield Text(headline(made), "lead")
    yield from (Text(text, "warning") for text in caveats(made))
    yield Figures(tuple(figures(made)))
    yield _sides(made)
    yield _weeks(made)
    yield Heading("What exploration says")
    yield from _explored(made)
    yield Heading("By segment")
    for segment in made.segments:
        yield _segment(made, segment.by, segment.groups)
    yield Heading("What this backtest cannot tell")
    yield Listing(tuple(limits(made)))


def headline(made: Backtest) -> str:
    """Return what would change, in one sentence."""
    whole, gain = made.whole, made.whole.gain_minor
    verdict = "more than" if gain.value >= 0 else "less than"
    sure = "" if gain.low > 0.0 or gain.high < 0.0 else ", which is not clearly a difference"
    return (
        f"{count(whole.changed)} of {count(whole.payments)} payments would have been decided otherwise: "
        f"{percent(whole.after.approval_rate)} let in instead of {percent(whole.before.approval_rate)}, earning "
        f"{money(abs(gain.value), made.currency)} {verdict} what was done "
        f"({between(gain, 'money', made.currency)}){sure}."
    )


def caveats(made: Backtest) -> Iterator[str]:
    """Yield what must be known before a figure is believed."""
    unknown, dark = made.unknown, made.unknown.payments - made.unknown.explored
    if dark:
        yield (
            f"Counterfactual: {count(dark)} payments that were not let in would be, "
            f"{money(unknown.minor, made.currency)} in all. Nobody knows what they would have become. The figures take "
            f"the model's own word for them: {money(unknown.expected_fraud_minor, made.currency)} of fraud. "
            + ("Only what was released by exploration is known." if made.off_policy else "No exploration was on.")
        )
    if made.learnt:
        yield (
            f"{count(made.learnt)} of these payments are ones that the model learnt from: on them it looks better than "
            "it is. Choose a period after its training, or read 'avalist report', which never does that."
        )


def figures(made: Backtest) -> Iterator[Figure]:
    """Yield the figures that matter, after the change, with what was beside them."""
    before, after, currency = made.whole.before, made.whole.after, made.currency
    yield Figure("let in", percent(after.approval_rate), f"was {percent(before.approval_rate)}")
    yield Figure(
        "fraud chargebacks by value, projected",
        percent(after.projected_share.value),
        f"{between(after.projected_share)}; was {percent(before.projected_share.value)}",
    )
    yield Figure(
        "fraud money declined",
        percent(after.caught.value),
        f"{between(after.caught)}; was {percent(before.caught.value)}",
    )
    yield Figure(
        "good money declined",
        money(after.good_declined_minor.value, currency),
        f"was {money(before.good_declined_minor.value, currency)}",
    )


def _sides(made: Backtest) -> Table:
    before, after, currency = made.whole.before, made.whole.after, made.currency

    def whole(name: str, of: str) -> tuple[str, ...]:
        return name, count(getattr(before, of)), count(getattr(after, of)), ""

    def drawn(name: str, of: str, *, of_money: bool = False) -> tuple[str, ...]:
        old, new = getattr(before, of), getattr(after, of)
        return name, _shown(old, currency, of_money), _shown(new, currency, of_money), _ends(new, currency, of_money)

    rows = (
        whole("payments let in", "let_in"),
        whole("fraud chargebacks, matured (come in, and let in then)", "matured"),
        drawn("fraud chargebacks, projected", "projected"),
        drawn("their money, projected", "projected_minor", of_money=True),
        drawn("fraud money declined", "caught_minor", of_money=True),
        drawn("good payments declined", "good_declined"),
        drawn("good money declined", "good_declined_minor", of_money=True),
    )
    return Table(("", "as it was", "after the change", "90 % interval after"), rows, _moves(made))


def _shown(value: Interval, currency: str, of_money: bool) -> str:
    return money(value.value, currency) if of_money else count(value.value)


def _ends(value: Interval, currency: str, of_money: bool) -> str:
    return between(value, "money", currency) if of_money else f"{count(value.low)} to {count(value.high)}"


def _moves(made: Backtest) -> str:
    moves = sorted(made.moves.items(), key=lambda move: -move[1])
    return "What changes: " + ("; ".join(f"{name} {count(n)}" for name, n in moves) or "nothing")


def _weeks(made: Backtest) -> Pair:
    x = tuple(float(week.start_ms) for week in made.weeks)
    total, running = 0.0, []
    for week in made.weeks:
        total += week.gain_minor
        running.append(total)
    shares = Chart(
        title="Fraud chargebacks by value, week by week",
        x_label="week",
        y_label="share of money let in",
        x_format="date",
        y_format="percent",
        series=(
            Series(name="as it was", x=x, y=tuple(week.before for week in made.weeks), style="dashed", colour=3),
            Series(name="after", x=x, y=tuple(week.after for week in made.weeks)),
        ),
        caption="Projected: what is reported, grossed up by the delay law.",
    )
    gains = Chart(
        title="What the change earns, summed up",
        x_label="week",
        y_label="gain",
        x_format="date",
        y_format="money",
        currency=made.currency,
        series=(Series(name="gain", x=x, y=tuple(running)),),
    )
    return Pair(shares, gains)


def _explored(made: Backtest) -> Iterator[Block]:
    if made.off_policy is None:
        yield Text(
            "No would-be decline of this period was released by a draw, so no false-decline rate and no off-policy "
            "estimate can be had. What is said of declined payments is the model's word. A policy with "
            '"exploration": {"on": true} releases a few, within a money budget, and later backtests know of them.'
        )
        return
    yield from _estimates(made, made.off_policy)


def _estimates(made: Backtest, found: OffPolicy) -> Iterator[Block]:
    verb = "cost" if found.cost_minor >= 0.0 else "earned"
    yield Text(
        f"{count(found.released)} would-be declines were released by a draw whose chances were logged. "
        f"Against declining them that {verb} {money(abs(found.cost_minor), made.currency)}."
    )
    rows = (*_estimate("as it was", found.before, made.currency), *_estimate("after", found.after, made.currency))
    yield Table(
        ("a payment's profit over declining all", "estimator", "value", "90 % interval", "effective payments"),
        rows,
        f"Weights end at {MOST_WEIGHT:.0f}; {count(found.after.clipped)} were cut. The change would let in "
        f"{count(found.after.unseen)} payments that no draw could release: there, the model's word.",
        2,
    )
    wrong = found.false_declines
    if wrong is not None:
        value = wrong.doubly_robust
        yield Text(
            f"Of the economic declines that a draw could release, {percent(value.value)} ({between(value)}) would have "
            f"been taken and honest: the false-decline rate, without bias. Declines by a block, a wave or a limit are "
            "not part of it."
        )


def _estimate(name: str, found: Estimate, currency: str) -> Iterator[tuple[str, ...]]:
    for label, value in (("doubly robust", found.doubly_robust), ("IPS", found.ips), ("SNIPS", found.snips)):
        shown = money(value.value, currency), between(value, "money", currency)
        yield name, label, *shown, count(found.effective)


def _segment(made: Backtest, by: str, groups: tuple[Compared, ...]) -> Table:
    rows = tuple(
        (
            g.name,
            count(g.payments),
            count(g.changed),
            f"{percent(g.before.approval_rate)} / {percent(g.after.approval_rate)}",
            f"{percent(g.before.projected_share.value)} / {percent(g.after.projected_share.value)}",
            money(g.after.caught_minor.value, made.currency),
            money(g.after.good_declined_minor.value, made.currency),
            money(g.gain_minor.value, made.currency),
            between(g.gain_minor, "money", made.currency),
        )
        for g in groups
    )
    head = (
        by, "payments", "changed", "let in: was / after", "chargebacks by value: was / after", "fraud declined",
        "good declined", "gain", "90 % interval",
    )  # fmt: skip
    return Table(head, rows)


def limits(made: Backtest) -> Iterator[str]:
    """Yield the limits that apply."""
    law = (
        f"the delay estimated from {count(made.delay_reports)} reports" if made.delay_reports else "the declared delay"
    )
    yield (
        f"On average {percent(made.reported)} of the fraud of these payments should be reported by now. Projected "
        f"figures divide what is reported by that share at its age, so they hold as far as {law} does; for "
        "payments too young to say anything they take what the model expects."
    )
    if made.undecided:
        yield (
            f"{count(made.undecided)} payments had no live decision. What became of them stands for one: captured, or "
            "tried and failed at the issuer, counts as let in."
        )
    yield "A payment counts by its first checkpoint. Reviews and challenges count as let in, whatever came of them."
    yield "A declined payment is taken to be captured as often as those let in."
    yield "Later payments are as they were: whoever is declined may try again, and fraudsters change their ways."
    yield (
        f"Intervals draw whole {made.block}s together, those of gains and of exploration days, and do not cover "
        "a change of fraud that the period never saw."
    )
