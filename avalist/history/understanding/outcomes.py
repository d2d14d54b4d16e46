"""What became of payments: labels, decisions of the time, and what nobody may know beforehand."""

from __future__ import annotations

import polars as pl

from avalist.domain.errors import BadInput
from avalist.history.columns import flags, share, text
from avalist.history.understanding import lexicon as lex
from avalist.history.understanding.draft import SURE, Draft, epoch
from avalist.history.understanding.profile import Profile


def take_outcomes(d: Draft) -> None:
    """Take labels and when they were known, issuers' answers, and what was decided at the time."""
    _report_times(d)
    _label(d)
    _issuer(d)
    _old_decision(d)


def _report_times(d: Draft) -> None:
    for p in list(d.left()):
        if not (p.time or (p.numeric and epoch(p))) or p.filled > 0.5:
            continue
        warning = d.called(p, lex.WARNING)
        if warning or d.called(p, lex.FRAUD, ("chargeback", "dispute")) or p.name == d.answers.get("label"):
            role = "early_warning_at" if warning else "fraud_reported_at"
            if role in d.outcomes:
                continue
            d.outcomes[role] = p.name
            format = p.time or str(epoch(p))
            if format != "iso":
                d.formats[p.name] = format
            d.take(p.name, f"outcomes.{role}", f"its name, and it is a time in {p.filled:.2%} of the rows; {p.times}")


def _label(d: Draft) -> None:
    given = d.answers.get("label")
    p = None if given == "none" else _label_column(d, given)
    if p is None:
        return
    yes = _fraud_values(d, p)
    if not p.flag and not yes:
        expected = "two values, or words such as fraud"
        raise BadInput("not a column of fraud labels", field="--label", expected=expected, got=", ".join(p.top[:5]))
    if yes and not given and p.filled < 0.5 and len(yes) < p.distinct:  # reasons, of which some say fraud
        _ask_of_reasons(d, p, yes)
        return
    shown = share(flags(d.frame[p.name], yes).fill_null(False))
    if "fraud_reported_at" in d.outcomes:
        if not any(lex.DECLINED_VALUES.fullmatch(v.lower()) for v in p.top):  # else it tells the old decision
            d.ignore(p.name, f"{d.outcomes['fraud_reported_at']} tells the same, and when it was known")
        return
    if yes:
        d.yes["fraud"] = yes
    d.outcomes["fraud"] = p.name
    d.take(
        p.name,
        "outcomes.fraud",
        f"{'you said so' if given else 'its name and values'}; {shown:.2%} of the sample are yes",
    )
    d.notes.append(
        "the file does not say when a fraud was reported: the delay is drawn, median 25 days (report_delay_d in "
        "[schema.settings])"
    )


def _label_column(d: Draft, given: str | None) -> Profile | None:
    """Return the column of labels; None where there is none, or where it must be asked for."""
    found = [p for p in d.left() if p.name == given] if given else _labels(d)
    if not found:
        if "fraud_reported_at" not in d.outcomes and "early_warning_at" not in d.outcomes:
            choices = (*[p.name for p in d.left() if 1 < p.distinct <= 6][:12], "none")
            d.ask(
                "label",
                "no column says which payments were fraud: is there one? Without it nothing can be trained",
                choices,
                needed=False,
            )
        return None
    sure = [p for p in found if d.called(p, lex.FRAUD)] or found
    if len(sure) > 1 and not given:
        d.ask(
            "label",
            "several columns may say which payments were fraud: which one is it?",
            (*[p.name for p in sure], "none"),
        )
        return None
    return sure[0]


def _ask_of_reasons(d: Draft, p: Profile, yes: tuple[str, ...]) -> None:
    others = [one.name for one in d.left() if one.distinct == 2 and one.filled > 0.5]
    d.ask(
        "label",
        f"{p.name} gives reasons ({', '.join(p.top[:4])}) where there was trouble: is it the label, with "
        f"{' and '.join(yes)} as fraud, or is another column?",
        (p.name, *others[:11], "none"),
    )


def _labels(d: Draft) -> list[Profile]:
    def fits(p: Profile) -> bool:
        marks = p.distinct == 1 and p.filled < 0.5  # a yes where it was fraud, and nothing elsewhere
        if d.called(p, lex.OTHER_MODEL) or p.distinct > 12 or (p.distinct < 2 and not marks) or p.time:
            return False
        if any(_is_fraud_value(v) for v in p.top):
            return True
        named = d.called(p, lex.FRAUD) or (d.called(p, lex.LABEL) and len(p.words) <= 2)
        return named and p.flag > SURE and _minority(d, p)

    return [p for p in d.left() if fits(p)]


def _minority(d: Draft, p: Profile) -> bool:
    return 0 < share(flags(d.frame[p.name]).fill_null(False)) < 0.5


def _fraud_values(d: Draft, p: Profile) -> tuple[str, ...]:
    return () if p.flag > SURE else tuple(sorted(v for v in p.top if _is_fraud_value(v)))


def _issuer(d: Draft) -> None:
    for p in list(d.left()):
        if not d.called(p, lex.AUTHORISED) or p.distinct > 60 or p.time:
            continue
        words = _approved(d, p)
        if "auth_approved" not in d.outcomes and p.distinct == 2 and (p.flag > SURE or words):
            d.outcomes["auth_approved"] = p.name
            d.take(p.name, "outcomes.auth_approved", "its name, and it is a yes or no")
            if words:
                d.yes["auth_approved"] = words
        elif "issuer_code" not in d.outcomes and d.called(p, lex.RESPONSE) and p.longest <= 64:
            d.outcomes["issuer_code"] = p.name
            d.take(p.name, "outcomes.issuer_code", "its name, and it has few values")


def _old_decision(d: Draft) -> None:
    for p in list(d.left()):
        if p.distinct > 12 or p.distinct < 2 or p.time:
            continue
        words = _approved(d, p)
        if p.flag > SURE and d.called(p, lex.CAPTURED) and "captured" not in d.outcomes:
            d.outcomes["captured"] = p.name
            d.take(p.name, "outcomes.captured", "its name, and it is a yes or no")
        elif (
            "old_decision" not in d.outcomes and words and any(lex.DECLINED_VALUES.fullmatch(v.lower()) for v in p.top)
        ):
            d.outcomes["old_decision"] = p.name
            d.yes["old_decision"] = words
            d.take(p.name, "outcomes.old_decision", f"its values are what was decided then: {', '.join(p.top[:4])}")
    _status(d)
    old = d.outcomes.get("old_decision")
    if old and "captured" not in d.outcomes:
        d.outcomes["captured"], d.yes["captured"] = old, d.yes["old_decision"]
        d.notes.append(f"what {old} shows as not approved was never paid: it is not learnt from")


def _status(d: Draft) -> None:
    """Take the old decision from the column of labels, where its other words tell one."""
    p = d.profiles.get(d.outcomes.get("fraud", ""))
    if p is None or "fraud" not in d.yes or "old_decision" in d.outcomes:
        return
    if any(lex.DECLINED_VALUES.fullmatch(v.lower()) for v in p.top) and _approved(d, p):
        d.outcomes["old_decision"] = p.name
        d.yes["old_decision"] = tuple(sorted({*_approved(d, p), *d.yes["fraud"]}))


def _approved(d: Draft, p: Profile) -> tuple[str, ...]:
    """Return the words of payments that were taken: what was charged back later was approved at first."""
    return tuple(sorted(v for v in p.top if lex.APPROVED_VALUES.fullmatch(v.lower()) or _is_fraud_value(v)))


def ignore_told_afterwards(d: Draft) -> None:
    """Ignore what is only known after the fact: a model that saw it would be blind when it matters."""
    y = _known_frauds(d)
    for p in list(d.left()):
        if p.distinct == 1 and p.filled == 1:
            d.ignore(p.name, "it is the same in every row")
        elif d.called(p, lex.AFTERWARDS):
            d.ignore(p.name, "its name says that it is known only afterwards")
        elif d.called(p, lex.OTHER_MODEL):
            d.ignore(p.name, "another system's verdict, not the payment's own")
        elif y is not None and y.sum() >= 20 and (why := _leak(d, p, y)):
            d.ignore(p.name, why)


def _known_frauds(d: Draft) -> pl.Series | None:
    for role in ("fraud_reported_at", "early_warning_at"):
        if role in d.outcomes:
            return text(d.frame[d.outcomes[role]]).is_not_null()
    column = d.outcomes.get("fraud")
    return flags(d.frame[column], d.yes.get("fraud", ())).fill_null(False) if column else None


def _leak(d: Draft, p: Profile, y: pl.Series) -> str:
    filled = text(d.frame[p.name]).is_not_null()
    if p.filled < 0.5 and share(y.filter(filled)) > 0.95 and share(filled.filter(y)) > 0.5:
        return "it is filled only where there was fraud: known only afterwards"
    if p.distinct <= 30 and p.filled > 0.5:
        by = (
            pl.DataFrame({"v": text(d.frame[p.name]), "y": y})
            .group_by("v")
            .agg(pl.col("y").sum().alias("bad"), pl.len())
        )
        pure = by.filter(pl.col("bad") > 0.95 * pl.col("len"))["bad"].to_numpy().sum()
        if pure > 0.9 * y.to_numpy().sum():
            return "it tells fraud by itself: known only afterwards"
    return ""


def _is_fraud_value(value: str) -> bool:
    low = value.lower()
    return bool(lex.FRAUD_VALUES.fullmatch(low)) and not lex.NOT_FRAUD_VALUES.search(low) and len(low) <= 40
