"""What payments are called, how much they are, and of which currency."""

from __future__ import annotations

import functools
import operator

import polars as pl

from avalist.domain.errors import BadInput
from avalist.domain.money import EXPONENT
from avalist.history.columns import numbers, share, text
from avalist.history.understanding import lexicon as lex
from avalist.history.understanding.draft import ASSUMED_CURRENCY, SIGNS, SURE, UNITS, Draft
from avalist.history.understanding.profile import SYMBOLS, Profile, words_of
from avalist.history.understanding.proposal import ROUGH_RATES

_NEARLY_ALL = 0.995
"""A line of totals has no id; it is rejected, and its file is not."""
_BOTH = 0.2
"""Where fewer amounts are of one sign, the others are what is usual."""
_COARSE = 100
"""Amounts of fewer minor units are changed by more than a hundredth where they are rounded."""
_LARGE = 50
"""Whole numbers of which half are as large may be minor units."""

NUMBERED = {
    "036": "AUD", "124": "CAD", "156": "CNY", "203": "CZK", "208": "DKK", "344": "HKD", "348": "HUF", "356": "INR",
    "376": "ILS", "392": "JPY", "410": "KRW", "484": "MXN", "554": "NZD", "578": "NOK", "643": "RUB", "682": "SAR",
    "702": "SGD", "710": "ZAR", "752": "SEK", "756": "CHF", "784": "AED", "826": "GBP", "840": "USD", "946": "RON",
    "949": "TRY", "978": "EUR", "985": "PLN", "986": "BRL",
}  # fmt: skip
"""Currencies by their numbers in ISO 4217, as card networks write them."""


def take_amount(d: Draft) -> None:
    """Take the column of amounts."""
    given = d.answers.get("amount")
    fitting = [p for p in d.left() if p.numeric > SURE and not p.time and not p.card]
    if given:
        fitting = [p for p in fitting if p.name == given]
        if not fitting:
            raise BadInput(
                "not a column of amounts", field="--amount", expected="numbers", got=d.profiles[given].samples[0]
            )
    named = [
        p
        for p in fitting
        if p.name == given or (d.called(p, lex.AMOUNT, lex.MINOR) and not d.called(p, lex.NOT_AMOUNT))
    ]
    money = [p for p in fitting if p.currencies or (0 < p.decimals <= 2 and p.distinct > 20 and not p.negative)]
    best = sorted(named or [p for p in money if not d.called(p, lex.NOT_AMOUNT)], key=lambda p: _amount_rank(d, p))
    if not best or (not named and len(best) > 1):
        choices = [p.name for p in (best or fitting) if not p.is_index and p.distinct > 2]
        text = "which column holds the amount of a payment?" if choices else "no column can be an amount of a payment"
        d.ask("amount", text + d.unread(lex.AMOUNT), choices)
        return
    p = best[0]
    d.parts["amount"] = p.name
    why = (
        "you said so"
        if given
        else "its name, and it holds numbers"
        if named
        else "the only numbers that look like money"
    )
    why += _negative(d, p)
    if d.mark == ",":
        why += "; with decimal commas"
    d.take(p.name, "amount", why)


def _negative(d: Draft, p: Profile) -> str:
    """Tell what negative amounts are; ask where both signs are common. Returns the reason."""
    given = d.answers.get("negative_amounts")
    taken = given or ("flip" if p.negative > 0.5 else "refund")
    if not given and _BOTH < p.negative < 1 - _BOTH:
        text = (
            f"{p.negative:.0%} of {p.name} are negative: are these refunds (refund), or the payments (flip)? If "
            "neither, this column holds no amounts: say which does (--amount)"
        )
        d.ask("negative_amounts", text, SIGNS)
    if p.negative and taken != "refund":
        d.parts["negative_amounts"] = taken
        return "; the sign is turned round" if taken == "flip" else "; negative ones are rejected"
    return "; negative ones are refunds: taken where they name a payment, else skipped" if p.negative else ""


def take_row_type(d: Draft) -> None:
    """Take the columns that tell refunds and fees from the payments that they stand between."""
    for p in list(d.left()):
        if not d.called(p, lex.ROW_TYPE) or p.distinct > len(p.top) or p.distinct < 2:
            continue
        kinds = {value: _row_kind(value) for value in p.top}
        if "sale" in map(str.lower, p.top):  # what an acquirer credits, a bank's customer gets
            kinds |= {value: "refund" for value in p.top if value.lower() == "credit"}
        if "payment" in kinds.values() and {"refund", "chargeback", "other"} & {*kinds.values()}:
            payments = tuple(value for value, kind in kinds.items() if kind in ("payment", ""))
            d.parts["row_type"], d.yes["payment"] = p.name, payments
            for kind in ("refund", "chargeback"):
                d.yes |= {kind: of} if (of := tuple(value for value, k in kinds.items() if k == kind)) else {}
            d.paid = d.frame.filter(text(d.frame[p.name]).is_in(payments))
            d.take(p.name, "row_type", f"its values are kinds of rows; payments are {', '.join(payments)}")
            break
    amount = d.profiles.get(d.parts.get("amount", ""))
    if amount and 0 < amount.negative <= 0.5:
        d.paid = d.paid.filter((numbers(d.paid[amount.name], d.mark) >= 0).fill_null(True))
    d.paid = d.paid.unique(maintain_order=True)  # rows that a file holds twice are of one payment
    named = [p for p in d.left() if _names_payment(d, p)] if len(d.paid) < len(d.frame) else []
    if named:
        d.parts["refund_of"] = named[0].name
        d.take(named[0].name, "refund_of", "its name: the payment that a refund returns")
    times = d.parts.get("occurred_at", ())
    needed = [*((times,) if isinstance(times, str) else times), *([amount.name] if amount else [])]
    said = [text(d.paid[name]).is_not_null() for name in needed if name in d.profiles]
    if said:
        d.paid = d.paid.filter(functools.reduce(operator.or_, said))  # a row without is a further item of an order


def _row_kind(value: str) -> str:
    """Return what a row of that type is: payment, refund, chargeback, other; nothing where the word is not known.

    >>> _row_kind("Express Checkout Payment"), _row_kind("ChargebackReversed"), _row_kind("partial_refund")
    ('payment', 'other', 'refund')
    """
    words = " ".join(words_of(value))
    return next((kind for kind, pattern in lex.ROWS if pattern.search(words)), "")


def _names_payment(d: Draft, p: Profile) -> bool:
    """Tell whether a column names the payment that a refund or chargeback is of."""
    if p.decimals or not d.called(p, lex.PAYMENT, lex.ID):
        return False
    empty_in_payments = share(text(d.paid[p.name]).is_null()) > 0.9
    return d.called(p, lex.REFUND_OF) or (d.called(p, lex.REFERS) and empty_in_payments)


def take_units(d: Draft) -> None:
    """Tell amounts in minor units, such as cents, from those in whole units of money; ask where there is doubt."""
    p = d.profiles.get(d.parts.get("amount", ""))
    if p is None:
        return
    given = d.answers.get("units")
    zeros = p.length == p.longest > 1 and any(v.startswith("0") for v in p.top) and all(map(str.isdigit, p.top))
    named = p.whole and (zeros or d.called(p, lex.MINOR))
    if given == "minor" and not p.whole:
        expected = "whole numbers in the column of amounts"
        raise BadInput("minor units are whole numbers", field="--units", expected=expected, got=p.samples[0])
    if given == "minor" or (named and not given):
        d.parts["amount_minor"] = d.parts.pop("amount")
        why = "as you said" if given else "as zeros stand before it" if zeros else "as it said"
        d.take(p.name, "amount_minor", f"{d.reasons[p.name].why}; in minor units, {why}")
    elif p.whole and not given and EXPONENT.get(d.parts["base_currency"], 2) and _median(d, p) >= _LARGE:
        text = (
            f"{p.name} holds whole numbers, such as {p.samples[0]}: whole units of money (major, which is "
            "proposed), or minor units such as cents? The wrong one makes every figure a hundred times too high or low"
        )
        d.ask("units", text, UNITS, proposed="major", needed=False)
    elif p.decimals > (kept := EXPONENT.get(d.parts["base_currency"], 2)) and _median(d, p) * 10**kept < _COARSE:
        d.notes.append(
            f"{p.name} has {p.decimals} decimals, of which {d.parts['base_currency']} keeps {kept}: half of the "
            "amounts are so small that rounding changes them; multiply the column, say by a million, if they matter"
        )


def _median(d: Draft, p: Profile) -> float:
    median = numbers(d.frame[p.name], d.mark).abs().median()
    return median if isinstance(median, float) else 0.0


def _amount_rank(d: Draft, p: Profile) -> tuple[bool, bool, bool, bool, bool, float]:
    called = d.called(p, ("amount", "amt", "betrag", "montant", "importe"))
    return not p.currencies, not called, p.distinct < 3, p.whole, not _coded(p), -p.filled


def _coded(p: Profile) -> str:
    """Return the currency in a column's name; nothing where there is none."""
    return next((w.upper() for w in p.words if w.upper() in EXPONENT), "")


def take_payment_id(d: Draft) -> None:
    """Take the column of the payment's id, or the line's number."""
    given = d.answers.get("id")
    if given == "none":
        _no_id(d, "you said so")
        return
    found = [p for p in d.left() if p.name == given or (not given and _is_id(d, p))]
    found.sort(key=lambda p: (p.name != given, not d.called(p, lex.PAYMENT), -p.distinct))
    if not found:
        _no_id(d, "no column holds another value in every row")
        return
    p = found[0]
    why = "you said so" if given else "its name, and its values do not repeat"
    d.parts["payment_id"] = p.name
    times = d.parts.get("occurred_at")
    if times and _repeats(d, p) > 1:
        key = (p.name, *((times,) if isinstance(times, str) else times))
        if d.paid.select(pl.struct(key).n_unique()).item() > d.paid[p.name].n_unique():
            d.parts["payment_id"] = key
            why = f"its name; {p.name} alone repeats, so the time is part of the id"
    d.take(p.name, "payment_id", why + ("; hashed, for card numbers look so" if p.card else ""))


def _is_id(d: Draft, p: Profile) -> bool:
    if p.filled < _NEARLY_ALL or _repeats(d, p) > 1.02 or p.decimals or p.time or p.email or p.agent or p.longest > 100:
        return False
    named = d.called(p, lex.PAYMENT) and (d.called(p, lex.ID) or len(p.words) <= 2)
    numbered = all(value.startswith("#") for value in p.top)  # as shops number orders
    return named or numbered or (p.words[-1:] and p.words[-1] in lex.ID and len(p.words) == 1) or (
        p.token == 1 and p.length >= 16 and not p.numeric and not d.called(p, lex.IDENTIFYING - lex.ID)
    )  # fmt: skip


def _repeats(d: Draft, p: Profile) -> float:
    """Return in how many payments each value stands, on average."""
    cells = text(d.paid[p.name]).drop_nulls()
    return len(cells) / max(cells.n_unique(), 1)


def _no_id(d: Draft, why: str) -> None:
    d.notes.append(f"payments are named by their line in the file ({why}): outcomes sent later cannot name them")


def take_currency(d: Draft) -> None:
    """Take the currency from a column, from the amounts, or assume it."""
    given = d.answers.get("currency", "")
    columns = [
        p
        for p in d.left()
        if p.currency > SURE and p.length == 3 and (p.name == given or d.called(p, lex.CURRENCY) or not given)
    ]
    columns.sort(key=lambda p: not d.called(p, lex.CURRENCY))
    if columns and given not in EXPONENT:
        _currency_column(d, columns[0])
        return
    if not given and (named := next((p for p in d.left() if _names_currency(d, p)), None)):
        _other_currency_column(d, named)
        return
    amount = d.profiles.get(d.parts.get("amount", ""))
    called = _coded(amount) if amount else ""
    signs = amount.currencies if amount else ()
    if len(signs) > 1 and not given:
        text = (
            f"the amounts are in several currencies ({', '.join(signs)}), and no column names them: best add one of "
            "ISO 4217 codes; or in which one shall all be taken, whatever their sign?"
        )
        d.ask("currency", text, signs)
    found = given or next(iter(signs), "") or called
    why = (
        "you said so" if given else "the amounts say so" if found else "no column tells, so it is assumed (--currency)"
    )
    d.parts["currency"], d.parts["base_currency"] = f"={found or ASSUMED_CURRENCY}", found or ASSUMED_CURRENCY
    d.notes.append(f"amounts are in {found or ASSUMED_CURRENCY}: {why}")


def _names_currency(d: Draft, p: Profile) -> bool:
    named = {p.words[-1:], p.words[-2:-1]} & {(word,) for word in lex.CURRENCY}
    code = p.words[-1:] and p.words[-1] in lex.CURRENCY | {"code", "iso", "symbol", "num", "number", "numeric"}
    return bool(named and code) and p.filled > SURE and p.distinct <= len(p.top) and not p.decimals


def _other_currency_column(d: Draft, p: Profile) -> None:
    """Take the currency from a column of signs or of numbers of ISO 4217; ask where it is of several or of others."""
    known = [SYMBOLS.get(cell, NUMBERED.get(cell.zfill(3), "")) for cell in p.top]
    taken = known[0] or ASSUMED_CURRENCY
    if len({*known}) > 1 or not known[0]:
        text = (
            f"{p.name} holds {', '.join(p.top[:4])}, and ISO 4217 codes such as {taken} are needed: best write them "
            "so; or in which currency shall all amounts be taken?"
        )
        d.ask("currency", text, [code for code in dict.fromkeys(known) if code])
    d.parts["currency"], d.parts["base_currency"] = f"={taken}", taken
    d.take(p.name, "currency", f"{p.top[0]} is {taken}")
    d.notes.append(f"amounts are in {taken}: {p.name} says so")


def _currency_column(d: Draft, p: Profile) -> None:
    d.parts["currency"] = p.name
    codes = [value.upper() for value in p.top]
    base = d.parts["base_currency"] = codes[0]
    why = "its cells are ISO 4217 codes"
    if len(codes) > 1 and base in ROUGH_RATES:
        rates = {c: float(f"{ROUGH_RATES[c] / ROUGH_RATES[base]:.4g}") for c in codes[1:] if c in ROUGH_RATES}
        d.settings["rates"] = rates
        d.notes.append(
            f"amounts are summed in {base}, the most common currency, by rough rates: correct them under "
            "[schema.settings.rates]"
        )
    d.take(p.name, "currency", why)
