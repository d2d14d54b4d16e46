"""What became of payments: labels, decisions of the time, and what nobody may know beforehand."""

from __future__ import annotations

import polars as pl

from avalist.domain.errors import BadInput
from avalist.history.columns import NO, flags, missing, share, text
from avalist.history.understanding import lexicon as lex
from avalist.history.understanding.draft import SURE, Draft, counted
from avalist.history.understanding.profile import Profile, words_of

_MOST_VALUES = 30
"""Labels have fewer."""


def take_outcomes(d: Draft) -> None:
    """Take labels and when they were known, issuers' answers, and what was decided at the time."""
    _report_times(d)
    _label(d)
    _issuer(d)
    _old_decision(d)


def _report_times(d: Draft) -> None:
    for p in list(d.left()):
        if not (p.time or counted(d, p)) or p.filled > 0.5:
            continue
        warning = d.called(p, lex.WARNING)
        if warning or d.called(p, lex.FRAUD, ("chargeback", "dispute")) or p.name == d.answers.get("label"):
            role = "early_warning_at" if warning else "fraud_reported_at"
            if role in d.outcomes:
                continue
            d.outcomes[role] = p.name
            format = p.time or counted(d, p)
            if format != "iso":
                d.formats[p.name] = format
            d.take(p.name, f"outcomes.{role}", f"its name, and it is a time in {p.filled:.2%} of the rows; {p.times}")


def _label(d: Draft) -> None:
    given = d.answers.get("label")
    if "chargeback" in d.yes and not given:
        rows = f"rows of {d.parts['row_type']} {', '.join(d.yes['chargeback'])}"
        if _name_payments(d):
            d.notes.append(f"{rows} are reports of fraud")
            return
        d.notes.append(
            f"{rows} are chargebacks, and none names a payment of the file: they are skipped. If a column names it, "
            "map that as refund_of"
        )
    p = None if given == "none" else _label_column(d, given)
    if p is None:
        return
    yes = _fraud_values(d, p)
    if not yes and not _is_plain(d, p):
        _ask_of_values(d, p)
        return
    reasons = yes and p.filled < 0.5 and len(yes) < p.distinct  # of which some say fraud
    if "fraud_reported_at" in d.outcomes:
        _label_with_times(d, p, yes if reasons or "fraud_value" in d.answers else ())
    elif reasons and not given:
        _ask_of_reasons(d, p, yes)
    else:
        _take_label(d, p, yes, "you said so" if given else "its name and values")
        d.notes.append(
            "the file does not say when a fraud was reported: the delay is drawn, median 25 days (report_delay_d in "
            "[schema.settings])"
        )


def _name_payments(d: Draft) -> bool:
    """Tell whether chargebacks that are rows of their own name payments. Where the sample has gaps they may."""
    key = d.parts.get("payment_id", "")
    names = d.parts.get("refund_of") or (key if isinstance(key, str) else key[0])
    if len(d.lines) <= d.lines[-1] - d.lines[0] or not names:
        return bool(names)
    charged_back = d.frame.filter(flags(d.frame[d.parts["row_type"]], d.yes["chargeback"]))
    ids = text(d.paid[key if isinstance(key, str) else key[0]])
    return bool(text(charged_back[names]).is_in(ids.drop_nulls().implode()).any())


def _take_label(d: Draft, p: Profile, yes: tuple[str, ...], why: str) -> None:
    shown = share(flags(d.frame[p.name], yes).fill_null(False))
    if yes:
        d.yes["fraud"] = yes
    d.outcomes["fraud"] = p.name
    means = f" ({', '.join(yes)})" if yes else ""
    d.take(p.name, "outcomes.fraud", f"{why}; {shown:.2%} of the sample are yes{means}")


def _label_with_times(d: Draft, p: Profile, yes: tuple[str, ...]) -> None:
    """Take a label beside the times of its reports: only where it gives the reasons does it tell more than they do."""
    reported = d.outcomes["fraud_reported_at"]
    if yes:
        _take_label(d, p, yes, f"reasons of what {reported} dates")
        d.notes.append(f"only {', '.join(yes)} in {p.name} is counted as fraud, no other dispute")
    elif not _declines(p):  # else it tells the old decision
        d.ignore(p.name, f"{reported} tells the same, and when it was known")


def _ask_of_values(d: Draft, p: Profile) -> None:
    """Ask which value means fraud, where a column is the label and its words do not tell."""
    if p.distinct > _MOST_VALUES:
        expected = f"a column of few values, such as yes and no; this one has {p.distinct:,}"
        raise BadInput("not a column of fraud labels", field="--label", expected=expected, got=", ".join(p.top[:5]))
    counts = ", ".join(f"{v!r}" for v in p.top[:6])
    text = f"which value of {p.name} means fraud, or which of them, by commas? It has {counts}"
    d.ask("fraud_value", text, (*p.top, ",".join(p.top)) if p.filled < 0.5 else p.top)  # all where there was trouble


def _is_plain(d: Draft, p: Profile) -> bool:
    """Tell whether a column is of yes and no, with yes for fraud: more than half are none."""
    return p.flag > SURE and share(flags(d.frame[p.name]).fill_null(False)) <= 0.5


def _label_column(d: Draft, given: str | None) -> Profile | None:
    """Return the column of labels; None where there is none, or where it must be asked for."""
    found = [p for p in d.left() if p.name == given] if given else _labels(d) or _unclear(d)
    if not found:
        if "fraud_reported_at" not in d.outcomes and "early_warning_at" not in d.outcomes:
            choices = (*[p.name for p in d.left() if 1 < p.distinct <= 6][:12], "none")
            silent = [r.column for r in d.reasons.values() if d.called(d.profiles[r.column], lex.FRAUD)]
            silent += [p.name for p in d.left() if p.distinct == 1 and d.called(p, lex.FRAUD)]
            why = f" ({', '.join(silent)} has no two values)" if silent else ""
            d.ask(
                "label",
                f"no column says which payments were fraud{why}: is there one? Without it nothing can be trained",
                choices,
                proposed="none",
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
        if d.called(p, lex.OTHER_MODEL, lex.PAST) or p.distinct > 12 or (p.distinct < 2 and not marks) or p.time:
            return False
        if any(_is_fraud_value(v) for v in p.top) or _is_inverted(d, p):
            return True
        named = d.called(p, lex.FRAUD) or (d.called(p, lex.LABEL) and len(p.words) <= 2)
        return named and (_minority(d, p) if p.flag > SURE else marks and p.longest <= 3)

    return [p for p in d.left() if fits(p)]


def _unclear(d: Draft) -> list[Profile]:
    """Return columns that are called labels, where their values do not tell which of them is fraud."""
    if {"fraud_reported_at", "early_warning_at"} & d.outcomes.keys():
        return []
    few = [p for p in d.left() if 2 <= p.distinct <= 3 and not p.time and not d.called(p, lex.OTHER_MODEL)]
    named = [p for p in few if d.called(p, lex.FRAUD)]
    return named or [p for p in few if p.words[0] in lex.LABEL and len(p.words) == 1 and not _declines(p)]


def _declines(p: Profile) -> bool:
    return any(lex.DECLINED_VALUES.fullmatch(v.lower()) for v in p.top)


def _minority(d: Draft, p: Profile) -> bool:
    return 0 < share(flags(d.frame[p.name]).fill_null(False)) < 0.5


def _is_inverted(d: Draft, p: Profile) -> bool:
    """Tell whether a yes means that all was well, as in ``is_legit``."""
    named = d.called(p, lex.LEGIT) and len(p.words) <= 3
    return named and p.distinct == 2 and p.flag > SURE and share(flags(d.frame[p.name])) > 0.5


def _fraud_values(d: Draft, p: Profile) -> tuple[str, ...]:
    """Return the values that mean fraud; none where a plain yes does, or where none is known to."""
    value = d.answers.get("fraud_value")
    if value is not None:
        values = (value,) if value in p.top else tuple(value.split(","))
        if not {*values} <= {*p.top}:
            expected = ", ".join(p.top[:12])
            raise BadInput(f"{p.name} has no such value", field="--fraud-value", expected=expected, got=value)
        return values
    if p.flag > SURE:
        return tuple(v for v in p.top if v.lower() in NO) if _is_inverted(d, p) else ()
    words = tuple(sorted(v for v in p.top if _is_fraud_value(v)))
    return words or (p.top if p.distinct == 1 and p.filled < 0.5 else ())


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
        elif (
            "issuer_code" not in d.outcomes
            and d.called(p, lex.RESPONSE)
            and not d.called(p, lex.NOT_RESPONSE)
            and p.longest <= 64
        ):
            d.outcomes["issuer_code"] = p.name
            d.take(p.name, "outcomes.issuer_code", "its name, and it has few values")


def _old_decision(d: Draft) -> None:
    for p in list(d.left()):
        if p.distinct > 12 or p.distinct < 2 or p.time:
            continue
        words = _approved(d, p)
        declined = _declines(p)
        if p.flag > SURE and d.called(p, lex.CAPTURED) and "captured" not in d.outcomes:
            d.outcomes["captured"] = p.name
            d.take(p.name, "outcomes.captured", "its name, and it is a yes or no")
        elif "old_decision" not in d.outcomes and declined and _is_usual(d, p, words):
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
    if _declines(p) and _is_usual(d, p, _approved(d, p)):
        d.outcomes["old_decision"] = p.name
        d.yes["old_decision"] = tuple(sorted({*_approved(d, p), *d.yes["fraud"]}))


def _approved(d: Draft, p: Profile) -> tuple[str, ...]:
    """Return the words of payments that were taken: what was charged back later was approved at first."""
    patterns = (lex.APPROVED_VALUES, lex.FRAUD_VALUES)
    return tuple(sorted(v for v in p.top if any(one.fullmatch(v.lower()) for one in patterns)))


def _is_usual(d: Draft, p: Profile, words: tuple[str, ...]) -> bool:
    """Tell whether the words stand in half of the rows: else most payments would count as never paid."""
    return bool(words) and share(flags(d.frame[p.name], words)) * p.filled > 0.5


def ignore_told_afterwards(d: Draft) -> None:
    """Ignore what is only known after the fact: a model that saw it would be blind when it matters."""
    y = _known_frauds(d)
    for p in list(d.left()):
        if p.distinct == 1 and p.filled == 1:
            d.ignore(p.name, "it is the same in every row")
        elif d.called(p, lex.AFTERWARDS) and not d.called(p, lex.CHECKS):
            d.ignore(p.name, "its name says that it is known only afterwards")
        elif d.called(p, lex.OTHER_MODEL):
            d.ignore(p.name, "another system's verdict, not the payment's own")
        elif y is not None and y.sum() >= 20 and (why := _leak(d, p, y)):
            d.ignore(p.name, why)


def _known_frauds(d: Draft) -> pl.Series | None:
    for role in ("fraud_reported_at", "early_warning_at"):
        if role in d.outcomes:
            return text(missing(d.frame[d.outcomes[role]])).is_not_null()
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
    low = " ".join(words_of(value))
    return bool(lex.FRAUD_VALUES.fullmatch(low)) and not lex.NOT_FRAUD_VALUES.search(low) and len(low) <= 40
