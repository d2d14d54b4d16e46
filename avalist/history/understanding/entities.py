"""Who paid, with what and where; and what else is worth a column."""

from __future__ import annotations

from avalist.history.columns import ISO
from avalist.history.understanding import lexicon as lex
from avalist.history.understanding.draft import Draft, counted
from avalist.history.understanding.profile import Profile

_TWICE, _SOME = 1.1, 50
_HASH = 20
"""Tokens as long tell nothing of a person: hashes, and addresses of wallets."""
_KINDS = 4
"""So few values in many rows are kinds of customers."""
_MOST_ENTITIES, _MOST_CATEGORIES, _MOST_NUMBERS = 8, 12, 64


def take_entities(d: Draft) -> None:
    """Take what identifies customers, cards, devices, payees, and the places of an event."""
    _by_value(d)
    _account_since(d)
    for path, entity, words in lex.PLACES:
        fitting = [p for p in d.left() if d.called(p, words) and path not in d.fields and _fits_place(d, p, path)]
        fitting.sort(key=lambda p: (not d.called(p, ("fingerprint",)), not d.called(p, lex.ID), -p.distinct))
        if fitting:
            p = fitting[0]
            hashed = p.name in d.hashed
            _place(
                d,
                p,
                path,
                entity,
                "its name" + ("; card numbers, so it is hashed" if hashed else f"; {p.distinct:,} values"),
            )
    for path, words in lex.BILLING:
        named = [p for p in d.left() if d.called(p, words) and not d.called(p, lex.NOT_BILLING)]
        fitting = [p for p in named if p.longest <= 100 and (not p.numeric or p.whole) and not p.time]
        fitting.sort(key=lambda p: not d.called(p, ("billing", "bill", "customer", "cust")))
        if fitting:
            _place(d, fitting[0], path, "", "its name")
    for p in list(d.left()):
        if p.name in d.hashed:
            free = "method.fingerprint" not in d.fields
            _place(
                d,
                p,
                "method.fingerprint" if free else f"custom.{d.name(p)}",
                "card" if free else d.name(p),
                "card numbers, so it is hashed",
            )


def _fits_place(d: Draft, p: Profile, path: str) -> bool:
    if p.decimals or p.time or p.clock or p.longest > 128 or p.distinct < 2 or d.called(p, lex.NOT_PLACE):
        return False
    if path == "payee.id" and p.repeats < _TWICE and p.rows >= _SOME:
        return False  # whoever is paid is paid again: these are references of payments
    if path == "device.id" and d.called(p, ("card",)):
        return False
    if path == "device.user_agent":
        return p.longest <= 512
    if path == "method.bin":
        return p.numeric == 1 and p.whole and 6 <= p.longest <= 8 and p.length >= 6
    if path == "method.last4":
        return p.longest == 4 and p.numeric == 1
    if path == "method.fingerprint" and p.longest <= 4:
        return False  # the end of a number is no one's card alone
    if path == "customer.id" and p.distinct <= _KINDS and p.rows >= _SOME and not d.called(p, lex.ID):
        return False
    if path in ("method.fingerprint", "device.id"):
        return p.distinct > 30 or p.card > 0 or d.called(p, lex.ID)
    return path == "payee.id" or p.token > 0.9 or d.called(p, lex.ID) or not d.called(p, lex.PERSONAL)


def _by_value(d: Draft) -> None:
    for p in list(d.left()):
        if p.email > 0.9 and "customer.email" not in d.fields:
            _place(d, p, "customer.email", "email", "its cells are e-mail addresses")
            d.entities["email"] = "email"
            d.categories["email_domain"] = "email_domain"
        elif (p.ip > 0.9 or _is_ip_number(d, p)) and "ip" not in d.fields:
            _place(d, p, "ip", "ip", "its cells are IP addresses" + ("" if p.ip > 0.9 else ", written as numbers"))
            d.entities["ip24"] = "ip24"
        elif p.agent > 0.5 and "device.user_agent" not in d.fields:
            _place(d, p, "device.user_agent", "", "its cells are browsers' user agents")
            d.categories["device_class"] = "device_class"


def _is_ip_number(d: Draft, p: Profile) -> bool:
    """Tell whether a column holds IPv4 addresses as numbers of 32 bits."""
    named = d.called(p, ("ip", "ipaddress")) and not d.called(p, lex.MEASURES)
    return named and p.numeric == 1 and p.distinct > 20 and p.low >= 0 and 2**24 < p.high < 2**32


def _account_since(d: Draft) -> None:
    """Take the time at which the customer's account was opened."""
    for p in list(d.left()):
        format = p.time or counted(d, p)
        opened = d.called(p, lex.ACCOUNT_SINCE) or (d.called(p, lex.ACCOUNT) and d.called(p, lex.OPENED))
        if format and opened and p.filled > 0.5 and "customer.created_at" not in d.fields:
            _place(d, p, "customer.created_at", "", "its name, and it is a time: how old the account is")
            if format != ISO:
                d.formats[p.name] = format


def _place(d: Draft, p: Profile, path: str, entity: str, why: str) -> None:
    d.fields[path] = p.name
    d.take(p.name, f"fields.{path}", why)
    if entity:
        d.entities[entity] = path if entity != "bin" else "bin"
    if path in ("billing.country", "billing.region"):
        _category(d, path.partition(".")[2], path)
    if path == "cart.sku":
        d.entities[entity] = "product"


def take_rest(d: Draft) -> None:
    """Take other identifiers, numbers and categories; ignore what is left."""
    for p in sorted(d.left(), key=lambda p: p.numeric == 1):  # words can be nothing but categories
        _one_more(d, p)
    if "customer.email" in d.fields and "customer.id" not in d.fields:
        d.fields["customer.id"] = d.fields["customer.email"]
        d.notes.append("no column names the customer: the e-mail address does")
    if not {"method.bin", "method.last4"}.isdisjoint(d.fields) and "method.fingerprint" not in d.fields:
        for path in ("method.bin", "method.last4"):
            if path in d.fields:
                d.fields[f"custom.{path[7:]}"] = d.fields.pop(path)
        if "bin" in d.entities:
            d.entities["bin"] = "custom.bin"


def _one_more(d: Draft, p: Profile) -> None:
    why = _useless(d, p)
    if why:
        d.ignore(p.name, why)
    elif _looks_identifying(d, p):
        if len(d.entities) >= _MOST_ENTITIES:
            d.ignore(p.name, f"an identifier beyond the first {_MOST_ENTITIES}")
            return
        _custom(d, p, d.entities, "", f"identifies: {p.distinct:,} values, each in {p.repeats:.1f} rows of the sample")
    elif (
        (d.called(p, lex.CATEGORY) or p.words == ("type",))
        and "cart.category" not in d.fields
        and p.distinct <= 500
        and not p.decimals
    ):
        d.fields["cart.category"] = p.name
        _category(
            d,
            "category" if "product" in d.entities or "category" not in d.categories else d.name(p),
            "product",
        )
        d.take(p.name, "fields.cart.category", f"its name, and it has {p.distinct} values")
    elif (
        p.numeric == 1
        and (p.distinct > 12 or p.decimals or d.called(p, lex.COUNTING) or _is_full(d, p))
        and (not d.called(p, ("code", "mcc", "zip")) or d.called(p, lex.MEASURES))
    ):
        if len(d.numbers) >= _MOST_NUMBERS:
            d.ignore(p.name, f"a number beyond the first {_MOST_NUMBERS}")
            return
        _custom(d, p, d.numbers, f":{p.decimals}" if p.decimals else "", f"numbers from {p.low:g} to {p.high:g}")
    elif p.distinct <= 500 and p.longest <= 100 and p.repeats >= 3:
        if len(d.categories) >= _MOST_CATEGORIES:
            d.ignore(p.name, f"a category beyond the first {_MOST_CATEGORIES}")
            return
        _custom(d, p, d.categories, "", f"{p.distinct} values, each often")
    else:
        d.ignore(p.name, "free text, or a value that hardly ever comes again")


def _is_full(d: Draft, p: Profile) -> bool:
    """Tell whether a column of a few numbers finds no room among the categories."""
    return len(d.categories) >= _MOST_CATEGORIES and p.distinct > 2


def _useless(d: Draft, p: Profile) -> str:
    if p.is_index or (d.called(p, lex.INDEX) and p.repeats < 1.01):
        return "it numbers the rows"
    hashed = p.token > 0.9 and p.length >= _HASH and not p.numeric and not p.email
    if d.called(p, lex.PERSONAL) and not hashed and not (p.numeric == 1 and d.called(p, lex.MEASURES)):
        return "personal data that no feature needs"
    if p.time or p.clock or (counted(d, p) and d.called(p, lex.TIME)):
        return "another time"
    if d.called(p, lex.YEAR) and p.whole and 1970 <= p.low <= p.high <= 2100:
        return "a part of another time"
    return ""


def _looks_identifying(d: Draft, p: Profile) -> bool:
    if (
        p.decimals
        or p.spaces > 0.3
        or p.repeats < 1.2
        or p.distinct < 20
        or p.longest > 128
        or d.called(p, lex.COUNTING)
    ):
        return False
    if p.words[-1:] and p.words[-1] in lex.IDENTIFYING - {"code", "ref"}:
        return True
    return p.token > 0.9 and not p.numeric and p.distinct > 300


def _custom(d: Draft, p: Profile, into: dict[str, str], suffix: str, why: str) -> None:
    name = d.name(p)
    d.fields[f"custom.{name}"] = p.name
    into[name] = f"custom.{name}{suffix}"
    d.take(p.name, f"fields.custom.{name}", why)


def _category(d: Draft, name: str, source: str) -> None:
    if len(d.categories) < _MOST_CATEGORIES:
        d.categories[name] = source
