"""What the columns of a file mean, told from their names and their cells, with the reasons."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Map
from typing import Any

import polars as pl

from avalist.app import lexicon as lex
from avalist.app.columns import flags, share, text
from avalist.app.mapping import Mapping, Outcomes, SchemaTable
from avalist.app.profile import Profile, Sample, decimal_mark_of, profile
from avalist.app.proposal import IGNORED, ROUGH_RATES, Question, Reason
from avalist.domain.errors import BadInput
from avalist.domain.money import EXPONENT

ASSUMED_CURRENCY = "EUR"
_MOST_ENTITIES, _MOST_CATEGORIES, _MOST_NUMBERS = 8, 12, 64
_NAME = re.compile(r"[^a-z0-9]+")
_RESERVED = frozenset({"amount", "hour", "weekday", "merchant"})
_SURE = 0.98
EVERYBODY = "everybody"
_FIRST = ("account", "card", "device", "ip", "email", "payee", "ip24")


class Reading:
    """One file's columns, understood step by step: each step takes what it recognises from those that are left."""

    def __init__(self, sample: Sample, answers: Map[str, str]) -> None:
        self.frame, self.answers = sample.frame, answers
        self.mark = decimal_mark_of(sample.frame)
        columns = sample.frame.iter_columns()
        self.profiles = {c.name: profile(c, sample.lines, self.mark) for c in columns}
        self.names = {name: lex.split(p.words) for name, p in self.profiles.items()}
        self.reasons: dict[str, Reason] = {}
        self.questions: list[Question] = []
        self.notes: list[str] = []
        self.parts: dict[str, Any] = {}
        self.fields: dict[str, str] = {}
        self.hashed: list[str] = []
        self.formats: dict[str, str] = {}
        self.yes: dict[str, tuple[str, ...]] = {}
        self.outcomes: dict[str, str] = {}
        self.entities: dict[str, str] = {}
        self.numbers: dict[str, str] = {}
        self.categories: dict[str, str] = {}
        self.settings: dict[str, Any] = {}
        self._check_answers()

    def understand(self) -> Mapping | None:
        """Return the mapping, or None while a needed question is open."""
        self._empty()
        self._card_numbers()
        self._time()
        self._amount()
        self._payment_id()
        self._currency()
        self._outcomes()
        self._told_afterwards()
        self._places()
        self._rest()
        if any(question.needed for question in self.questions):
            return None
        return self._mapping()

    def _mapping(self) -> Mapping:
        if not self.entities:
            self.entities, self.fields[f"custom.{EVERYBODY}"] = {EVERYBODY: f"custom.{EVERYBODY}"}, f"={EVERYBODY}"
            self.notes.append(
                "no column tells who pays or with what: one entity stands for all payments together; "
                "add one to [schema.entities] if there is"
            )
        self.entities = dict(sorted(self.entities.items(), key=lambda e: _FIRST.index(e[0]) if e[0] in _FIRST else 99))
        base = self.parts.pop("base_currency")
        schema = SchemaTable(base, self.entities, self.numbers, self.categories, self.settings)
        return Mapping(
            schema=schema, **self.parts, fields=self.fields, hashed=tuple(self.hashed), formats=self.formats,
            yes=self.yes, decimal_mark="," if self.mark == "," else ".", outcomes=Outcomes(**self.outcomes),
        )  # fmt: skip

    # --- bookkeeping ------------------------------------------------------------------------------------------------

    def _check_answers(self) -> None:
        for about in ("amount", "time", "label", "id"):
            given = self.answers.get(about, "none")
            if given != "none" and given not in self.profiles:
                expected = ", ".join(list(self.profiles)[:40])
                raise BadInput("the file has no such column", field=f"--{about}", expected=expected, got=given)
        currency = self.answers.get("currency", ASSUMED_CURRENCY)
        if currency not in self.profiles and currency not in EXPONENT:
            raise BadInput(
                "no such currency", field="--currency", expected="a code such as EUR, or a column", got=currency
            )

    def _left(self) -> Iterator[Profile]:
        return (p for name, p in self.profiles.items() if name not in self.reasons)

    def _take(self, column: str, role: str, why: str) -> None:
        sample = "(not shown)" if column in self.hashed else ", ".join(self.profiles[column].samples)
        self.reasons[column] = Reason(column, role, why, sample)

    def _ignore(self, column: str, why: str) -> None:
        self._take(column, IGNORED, why)

    def _called(self, p: Profile, *words: Iterable[str]) -> bool:
        return any(self.names[p.name] & frozenset(some) for some in words)

    def _ask(self, about: str, text: str, choices: Iterable[str] = (), *, needed: bool = True) -> None:
        self.questions.append(Question(about, text, tuple(choices), needed))

    # --- what is there and what is not ------------------------------------------------------------------------------

    def _empty(self) -> None:
        for p in self._left():
            if not p.distinct:
                self._ignore(p.name, "it is empty")

    def _card_numbers(self) -> None:
        for p in self._left():
            if not p.card:
                continue
            if p.spaces > 0.5 and p.longest > 23:
                self._ignore(p.name, "card numbers stand in its text")
            else:
                self.hashed.append(p.name)

    # --- time -------------------------------------------------------------------------------------------------------

    def _time(self) -> None:
        given = self.answers.get("time")
        if given:
            p = self.profiles[given]
            if not p.time and not p.numeric:
                raise BadInput(
                    "no format of times fits this column",
                    field="--time",
                    expected="a time, or a number",
                    got=p.samples[0],
                )
        ranked = sorted(
            (-self._time_score(p), n, p) for n, p in enumerate(self._left()) if p.name == given or not given
        )
        best = [p for score, _, p in ranked if score < 0 or p.name == given]
        if not best:
            choices = [p.name for p in self._left() if p.numeric and p.whole and p.distinct > 2]
            self._ask("time", "no column of times was recognised: which one says when a payment was made?", choices)
            return
        self._take_time(best[0])

    def _time_score(self, p: Profile) -> float:
        called = self._called(p, lex.TIME, lex.COUNTERS)
        if p.filled < 0.9 or self._called(p, lex.NOT_PAYMENT_TIME):
            return 0.0
        if p.time:
            return 1 + 2 * called + p.has_clock + 0.5 * p.rising + 0.2 * self._called(p, lex.PAYMENT)
        if p.numeric and called and (p.rising or _epoch(p)):
            return 0.5 + p.rising + 2 * bool(_epoch(p))
        return 0.0

    def _take_time(self, p: Profile) -> None:
        zone = self.answers.get("timezone", "UTC")
        self.parts["timezone"] = zone
        clock = next((c for c in self._left() if c.clock and c.filled > 0.9), None)
        if p.time and not p.has_clock and clock is not None:
            self.parts["occurred_at"] = (p.name, clock.name)
            self._take(clock.name, "occurred_at", f"the time of day; the date is in {p.name}")
            format = "iso" if p.time == "iso" else f"{p.time} {_clock_format(clock)}"
        else:
            self.parts["occurred_at"] = p.name
            format = p.time or self._counter(p)
        why = p.times or self.notes[-1]
        if p.orders and "date_order" in self.answers:
            order = self.answers["date_order"]
            format = format if order == "dmy" else format.replace("%d", "%D").replace("%m", "%d").replace("%D", "%m")
            why = "day first, as you said" if order == "dmy" else "month first, as you said"
        elif p.orders:
            cell = p.samples[0]
            self._ask("date_order", f"is {cell!r} in column {p.name!r} day first or month first?", ("dmy", "mdy"))
        if format != "iso":
            self.formats[p.name] = format
        self._take(
            p.name, "occurred_at", why + ("" if p.has_clock or clock or not p.time else "; there is no time of day")
        )
        if p.time:
            known = (
                "in each cell"
                if "z" in format
                else f"taken as {zone}" + ("" if "timezone" in self.answers else " (--timezone)")
            )
            self.notes.append(
                f"times that name no zone are {known}" if "z" not in format else "the zone of times stands in each cell"
            )

    def _counter(self, p: Profile) -> str:
        epoch = _epoch(p)
        if epoch:
            self.notes.append(f"{p.name} counts {epoch.split()[0]} since 1970, which names its zone")
            return epoch
        unit = next((lex.COUNTERS[w] for w in p.words[::-1] if w in lex.COUNTERS), "s")
        self.notes.append(
            f"{p.name} counts {unit} from a start that the file does not tell: 2020-01-01 stands in, so hours and "
            "weekdays mean little"
        )
        return f"{unit} since 2020-01-01"

    # --- amount, id, currency ---------------------------------------------------------------------------------------

    def _amount(self) -> None:
        given = self.answers.get("amount")
        fitting = [p for p in self._left() if p.numeric > _SURE and not p.time and not p.card]
        if given:
            fitting = [p for p in fitting if p.name == given]
            if not fitting:
                raise BadInput(
                    "not a column of amounts", field="--amount", expected="numbers", got=self.profiles[given].samples[0]
                )
        named = [
            p
            for p in fitting
            if p.name == given or (self._called(p, lex.AMOUNT, lex.MINOR) and not self._called(p, lex.NOT_AMOUNT))
        ]
        money = [p for p in fitting if p.symbol or (0 < p.decimals <= 2 and p.distinct > 20 and not p.negative)]
        best = sorted(named or [p for p in money if not self._called(p, lex.NOT_AMOUNT)], key=self._amount_rank)
        if not best or (not named and len(best) > 1):
            choices = [p.name for p in (best or fitting) if not p.is_index]
            self._ask("amount", "which column holds the amount of a payment?", choices)
            return
        p = best[0]
        minor = p.whole and self._called(p, lex.MINOR)
        self.parts["amount_minor" if minor else "amount"] = p.name
        why = (
            "you said so"
            if given
            else "its name, and it holds numbers"
            if named
            else "the only numbers that look like money"
        )
        if p.negative > 0.5:
            self.parts["negative_amounts"] = "flip"
            why += "; most are negative, so the sign is turned round"
        elif p.negative:
            why += "; negative ones are no payments and are rejected (negative_amounts)"
        if self.mark == ",":
            why += "; with decimal commas"
        self._take(p.name, "amount_minor" if minor else "amount", why)

    def _amount_rank(self, p: Profile) -> tuple[bool, bool, bool, bool, float]:
        called = self._called(p, ("amount", "amt", "betrag", "montant", "importe"))
        return not p.symbol, not called, p.distinct < 3, p.whole, -p.filled

    def _payment_id(self) -> None:
        given = self.answers.get("id")
        if given == "none":
            self._no_id("you said so")
            return
        found = [p for p in self._left() if p.name == given or (not given and self._is_id(p))]
        found.sort(key=lambda p: (p.name != given, not self._called(p, lex.PAYMENT), -p.distinct))
        if not found:
            self._no_id("no column holds another value in every row")
            return
        p = found[0]
        why = "you said so" if given else "its name, and its values do not repeat"
        self.parts["payment_id"] = p.name
        times = self.parts.get("occurred_at")
        if p.distinct < p.filled * p.rows and times:
            key = (p.name, *((times,) if isinstance(times, str) else times))
            if self.frame.select(pl.struct(key).n_unique()).item() > p.distinct:
                self.parts["payment_id"] = key
                why = f"its name; {p.name} alone repeats, so the time is part of the id"
        self._take(p.name, "payment_id", why + ("; hashed, for card numbers look so" if p.card else ""))

    def _is_id(self, p: Profile) -> bool:
        if p.filled < 1 or p.repeats > 1.02 or p.decimals or p.time or p.email or p.agent or p.longest > 100:
            return False
        named = self._called(p, lex.PAYMENT) and (self._called(p, lex.ID) or len(p.words) <= 2)
        return named or (p.words[-1:] and p.words[-1] in lex.ID and len(p.words) == 1) or (
            p.token == 1 and p.length >= 16 and not p.numeric and not self._called(p, lex.IDENTIFYING - lex.ID)
        )  # fmt: skip

    def _no_id(self, why: str) -> None:
        self.notes.append(f"payments are named by their line in the file ({why}): outcomes sent later cannot name them")

    def _currency(self) -> None:
        given = self.answers.get("currency", "")
        columns = [
            p
            for p in self._left()
            if p.currency > _SURE and p.length == 3 and (p.name == given or self._called(p, lex.CURRENCY) or not given)
        ]
        columns.sort(key=lambda p: not self._called(p, lex.CURRENCY))
        if columns and given not in EXPONENT:
            self._currency_column(columns[0])
            return
        amount = self.profiles.get(self.parts.get("amount", "") or self.parts.get("amount_minor", ""))
        called = next((w.upper() for p in [amount] if p for w in p.words if w.upper() in EXPONENT and len(w) == 3), "")
        found = given or (amount.symbol if amount else "") or called
        why = (
            "you said so"
            if given
            else "the amounts say so"
            if found
            else "no column tells, so it is assumed (--currency)"
        )
        self.parts["currency"], self.parts["base_currency"] = f"={found or ASSUMED_CURRENCY}", found or ASSUMED_CURRENCY
        self.notes.append(f"amounts are in {found or ASSUMED_CURRENCY}: {why}")

    def _currency_column(self, p: Profile) -> None:
        self.parts["currency"] = p.name
        codes = [value.upper() for value in p.top]
        base = self.parts["base_currency"] = codes[0]
        why = "its cells are ISO 4217 codes"
        if len(codes) > 1 and base in ROUGH_RATES:
            rates = {c: float(f"{ROUGH_RATES[c] / ROUGH_RATES[base]:.4g}") for c in codes[1:] if c in ROUGH_RATES}
            self.settings["rates"] = rates
            self.notes.append(
                f"amounts are summed in {base}, the most common currency, by rough rates: correct them under "
                "[schema.settings.rates]"
            )
        self._take(p.name, "currency", why)

    # --- what became of it ------------------------------------------------------------------------------------------

    def _outcomes(self) -> None:
        self._report_times()
        self._label()
        self._issuer()
        self._old_decision()

    def _report_times(self) -> None:
        for p in list(self._left()):
            if not (p.time or (p.numeric and _epoch(p))) or p.filled > 0.5:
                continue
            warning = self._called(p, lex.WARNING)
            if warning or self._called(p, lex.FRAUD, ("chargeback", "dispute")):
                role = "early_warning_at" if warning else "fraud_reported_at"
                if role in self.outcomes:
                    continue
                self.outcomes[role] = p.name
                format = p.time or str(_epoch(p))
                if format != "iso":
                    self.formats[p.name] = format
                self._take(
                    p.name, f"outcomes.{role}", f"its name, and it is a time in {p.filled:.2%} of the rows; {p.times}"
                )

    def _label(self) -> None:
        given = self.answers.get("label")
        if given == "none":
            return
        found = [p for p in self._left() if p.name == given] if given else self._labels()
        if not found:
            if "fraud_reported_at" not in self.outcomes and "early_warning_at" not in self.outcomes:
                choices = (*[p.name for p in self._left() if 1 < p.distinct <= 6][:12], "none")
                self._ask(
                    "label",
                    "no column says which payments were fraud: is there one? Without it nothing can be trained",
                    choices,
                    needed=False,
                )
            return
        sure = [p for p in found if self._called(p, lex.FRAUD)] or found
        if len(sure) > 1 and not given:
            self._ask(
                "label",
                "several columns may say which payments were fraud: which one is it?",
                (*[p.name for p in sure], "none"),
            )
            return
        p = sure[0]
        yes = self._fraud_values(p)
        if not p.flag and not yes:
            expected = "two values, or words such as fraud"
            raise BadInput("not a column of fraud labels", field="--label", expected=expected, got=", ".join(p.top[:5]))
        shown = share(flags(self.frame[p.name], yes))
        if "fraud_reported_at" in self.outcomes:
            self._ignore(p.name, f"{self.outcomes['fraud_reported_at']} tells the same, and when it was known")
            return
        if yes:
            self.yes["fraud"] = yes
        self.outcomes["fraud"] = p.name
        self._take(
            p.name,
            "outcomes.fraud",
            f"{'you said so' if given else 'its name and values'}; {shown:.2%} of the sample are yes",
        )
        self.notes.append(
            "the file does not say when a fraud was reported: the delay is drawn, median 25 days (report_delay_d in "
            "[schema.settings])"
        )

    def _labels(self) -> list[Profile]:
        def fits(p: Profile) -> bool:
            if self._called(p, lex.OTHER_MODEL) or p.distinct > 12 or p.distinct < 2 or p.time:
                return False
            if any(_is_fraud_value(v) for v in p.top):
                return True
            named = self._called(p, lex.FRAUD) or (self._called(p, lex.LABEL) and len(p.words) <= 2)
            return named and p.flag > _SURE and self._minority(p)

        return [p for p in self._left() if fits(p)]

    def _minority(self, p: Profile) -> bool:
        return 0 < share(flags(self.frame[p.name])) < 0.5

    def _fraud_values(self, p: Profile) -> tuple[str, ...]:
        return () if p.flag > _SURE else tuple(sorted(v for v in p.top if _is_fraud_value(v)))

    def _issuer(self) -> None:
        for p in list(self._left()):
            if not self._called(p, lex.AUTHORISED) or p.distinct > 60 or p.time:
                continue
            words = self._approved(p)
            if "auth_approved" not in self.outcomes and p.distinct == 2 and (p.flag > _SURE or words):
                self.outcomes["auth_approved"] = p.name
                self._take(p.name, "outcomes.auth_approved", "its name, and it is a yes or no")
                if words:
                    self.yes["auth_approved"] = words
            elif "issuer_code" not in self.outcomes and self._called(p, lex.RESPONSE) and p.longest <= 64:
                self.outcomes["issuer_code"] = p.name
                self._take(p.name, "outcomes.issuer_code", "its name, and it has few values")

    def _old_decision(self) -> None:
        for p in list(self._left()):
            if p.distinct > 12 or p.distinct < 2 or p.time:
                continue
            words = self._approved(p)
            if p.flag > _SURE and self._called(p, lex.CAPTURED) and "captured" not in self.outcomes:
                self.outcomes["captured"] = p.name
                self._take(p.name, "outcomes.captured", "its name, and it is a yes or no")
            elif (
                "old_decision" not in self.outcomes
                and words
                and any(lex.DECLINED_VALUES.fullmatch(v.lower()) for v in p.top)
            ):
                self.outcomes["old_decision"] = p.name
                self.yes["old_decision"] = words
                self._take(
                    p.name, "outcomes.old_decision", f"its values are what was decided then: {', '.join(p.top[:4])}"
                )
        self._status()
        old = self.outcomes.get("old_decision")
        if old and "captured" not in self.outcomes:
            self.outcomes["captured"], self.yes["captured"] = old, self.yes["old_decision"]
            self.notes.append(f"what {old} shows as not approved was never paid: it is not learnt from")

    def _status(self) -> None:
        """Take the old decision from the column of labels, where its other words tell one."""
        p = self.profiles.get(self.outcomes.get("fraud", ""))
        if p is None or "fraud" not in self.yes or "old_decision" in self.outcomes:
            return
        if any(lex.DECLINED_VALUES.fullmatch(v.lower()) for v in p.top) and self._approved(p):
            self.outcomes["old_decision"] = p.name
            self.yes["old_decision"] = (*self._approved(p), *self.yes["fraud"])

    def _approved(self, p: Profile) -> tuple[str, ...]:
        return tuple(sorted(v for v in p.top if lex.APPROVED_VALUES.fullmatch(v.lower())))

    def _told_afterwards(self) -> None:
        """Ignore what is only known after the fact: a model that saw it would be blind when it matters."""
        y = self._known_frauds()
        for p in list(self._left()):
            if p.distinct == 1 and p.filled == 1:
                self._ignore(p.name, "it is the same in every row")
            elif self._called(p, lex.AFTERWARDS):
                self._ignore(p.name, "its name says that it is known only afterwards")
            elif self._called(p, lex.OTHER_MODEL) and (p.numeric or p.flag):
                self._ignore(p.name, "another system's verdict, not the payment's own")
            elif y is not None and y.sum() >= 20 and (why := self._leak(p, y)):
                self._ignore(p.name, why)

    def _known_frauds(self) -> pl.Series | None:
        for role in ("fraud_reported_at", "early_warning_at"):
            if role in self.outcomes:
                return text(self.frame[self.outcomes[role]]).is_not_null()
        column = self.outcomes.get("fraud")
        return flags(self.frame[column], self.yes.get("fraud", ())).fill_null(False) if column else None

    def _leak(self, p: Profile, y: pl.Series) -> str:
        filled = text(self.frame[p.name]).is_not_null()
        if p.filled < 0.5 and share(y.filter(filled)) > 0.95 and share(filled.filter(y)) > 0.5:
            return "it is filled only where there was fraud: known only afterwards"
        if p.distinct <= 30 and p.filled > 0.5:
            by = (
                pl.DataFrame({"v": text(self.frame[p.name]), "y": y})
                .group_by("v")
                .agg(pl.col("y").sum().alias("bad"), pl.len())
            )
            pure = by.filter(pl.col("bad") > 0.95 * pl.col("len"))["bad"].to_numpy().sum()
            if pure > 0.9 * y.to_numpy().sum():
                return "it tells fraud by itself: known only afterwards"
        return ""

    # --- who, with what, where --------------------------------------------------------------------------------------

    def _places(self) -> None:
        self._by_value()
        for path, entity, words in lex.PLACES:
            fitting = [
                p
                for p in self._left()
                if self._called(p, words) and path not in self.fields and self._fits_place(p, path)
            ]
            fitting.sort(key=lambda p: (not self._called(p, lex.ID), -p.distinct))
            if fitting:
                p = fitting[0]
                hashed = p.name in self.hashed
                self._place(
                    p,
                    path,
                    entity,
                    "its name" + ("; card numbers, so it is hashed" if hashed else f"; {p.distinct:,} values"),
                )
        for path, words in lex.BILLING:
            named = [p for p in self._left() if self._called(p, words) and not self._called(p, lex.NOT_BILLING)]
            fitting = [p for p in named if p.longest <= 100 and (not p.numeric or p.whole) and not p.time]
            fitting.sort(key=lambda p: not self._called(p, ("billing", "bill", "customer", "cust")))
            if fitting:
                self._place(fitting[0], path, "", "its name")
        for p in list(self._left()):
            if p.name in self.hashed:
                free = "method.fingerprint" not in self.fields
                self._place(
                    p,
                    "method.fingerprint" if free else f"custom.{self._name(p)}",
                    "card" if free else self._name(p),
                    "card numbers, so it is hashed",
                )

    def _fits_place(self, p: Profile, path: str) -> bool:
        if p.decimals or p.time or p.clock or p.longest > 128 or p.distinct < 2 or self._called(p, lex.NOT_PLACE):
            return False
        if path == "device.user_agent":
            return p.longest <= 512
        if path == "method.bin":
            return p.numeric == 1 and p.whole and 6 <= p.longest <= 8 and p.length >= 6
        if path == "method.last4":
            return p.longest == 4
        if path in ("method.fingerprint", "device.id"):
            return p.distinct > 30 or p.card > 0 or self._called(p, lex.ID)
        return path == "payee.id" or p.token > 0.9 or self._called(p, lex.ID) or not self._called(p, lex.PERSONAL)

    def _by_value(self) -> None:
        for p in list(self._left()):
            if p.email > 0.9 and "customer.email" not in self.fields:
                self._place(p, "customer.email", "email", "its cells are e-mail addresses")
                self.entities["email"] = "email"
                self.categories["email_domain"] = "email_domain"
            elif p.ip > 0.9 and "ip" not in self.fields:
                self._place(p, "ip", "ip", "its cells are IP addresses")
                self.entities["ip24"] = "ip24"
            elif p.agent > 0.5 and "device.user_agent" not in self.fields:
                self._place(p, "device.user_agent", "", "its cells are browsers' user agents")
                self.categories["device_class"] = "device_class"

    def _place(self, p: Profile, path: str, entity: str, why: str) -> None:
        self.fields[path] = p.name
        self._take(p.name, f"fields.{path}", why)
        if entity:
            self.entities[entity] = path if entity != "bin" else "bin"
        if path in ("billing.country", "billing.region"):
            self._category(path.partition(".")[2], path)
        if path == "cart.sku":
            self.entities[entity] = "product"

    def _rest(self) -> None:
        for p in list(self._left()):
            self._one_more(p)
        if "customer.email" in self.fields and "customer.id" not in self.fields:
            self.fields["customer.id"] = self.fields["customer.email"]
            self.notes.append("no column names the customer: the e-mail address does")
        if not {"method.bin", "method.last4"}.isdisjoint(self.fields) and "method.fingerprint" not in self.fields:
            for path in ("method.bin", "method.last4"):
                if path in self.fields:
                    self.fields[f"custom.{path[7:]}"] = self.fields.pop(path)
                    self.entities.pop("bin", None)

    def _one_more(self, p: Profile) -> None:
        why = self._useless(p)
        if why:
            self._ignore(p.name, why)
        elif self._looks_identifying(p):
            if len(self.entities) >= _MOST_ENTITIES:
                self._ignore(p.name, f"an identifier beyond the first {_MOST_ENTITIES}")
                return
            self._custom(
                p, self.entities, "", f"identifies: {p.distinct:,} values, each in {p.repeats:.1f} rows of the sample"
            )
        elif (
            self._called(p, lex.CATEGORY)
            and "cart.category" not in self.fields
            and p.distinct <= 500
            and not p.decimals
        ):
            self.fields["cart.category"] = p.name
            self._category(
                "category" if "product" in self.entities or "category" not in self.categories else self._name(p),
                "product",
            )
            self._take(p.name, "fields.cart.category", f"its name, and it has {p.distinct} values")
        elif (
            p.numeric == 1
            and (p.distinct > 12 or p.decimals or self._called(p, lex.COUNTING))
            and not self._called(p, ("code", "mcc", "zip"))
        ):
            if len(self.numbers) >= _MOST_NUMBERS:
                self._ignore(p.name, f"a number beyond the first {_MOST_NUMBERS}")
                return
            self._custom(
                p, self.numbers, f":{p.decimals}" if p.decimals else "", f"numbers from {p.low:g} to {p.high:g}"
            )
        elif p.distinct <= 500 and p.longest <= 100 and p.repeats >= 3:
            if len(self.categories) >= _MOST_CATEGORIES:
                self._ignore(p.name, f"a category beyond the first {_MOST_CATEGORIES}")
                return
            self._custom(p, self.categories, "", f"{p.distinct} values, each often")
        else:
            self._ignore(p.name, "free text, or a value that never comes twice")

    def _useless(self, p: Profile) -> str:
        if p.is_index or (self._called(p, lex.INDEX) and p.repeats < 1.01):
            return "it numbers the rows"
        if self._called(p, lex.PERSONAL):
            return "personal data that no feature needs"
        if p.time or p.clock:
            return "another time"
        return ""

    def _looks_identifying(self, p: Profile) -> bool:
        if (
            p.decimals
            or p.spaces > 0.3
            or p.repeats < 1.2
            or p.distinct < 20
            or p.longest > 128
            or self._called(p, lex.COUNTING)
        ):
            return False
        if p.words[-1:] and p.words[-1] in lex.IDENTIFYING - {"code", "ref"}:
            return True
        return p.token > 0.9 and not p.numeric and p.length >= 6 and p.distinct > 300

    def _custom(self, p: Profile, into: dict[str, str], suffix: str, why: str) -> None:
        name = self._name(p)
        self.fields[f"custom.{name}"] = p.name
        into[name] = f"custom.{name}{suffix}"
        self._take(p.name, f"fields.custom.{name}", why)

    def _category(self, name: str, source: str) -> None:
        if len(self.categories) < _MOST_CATEGORIES:
            self.categories[name] = source

    def _name(self, p: Profile) -> str:
        """Return a name for the schema that is not in use."""
        words = [w for w in p.words if w not in ("id", "tx", "nr", "no", "num")] or list(p.words)
        plain = _NAME.sub("_", "_".join(words).translate(_ASCII)).strip("_")[:28]
        plain = plain if plain[:1].isalpha() else f"c_{plain}".strip("_")
        used = {*self.entities, *self.numbers, *self.categories, *_RESERVED}
        used |= {path.partition(".")[2] for path in self.fields if path.startswith("custom.")}
        return next(name for name in (plain, *(f"{plain}_{n}" for n in range(2, 999))) if name not in used)


_ASCII = str.maketrans(
    {
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "ß": "ss",
        "é": "e",
        "è": "e",
        "á": "a",
        "à": "a",
        "í": "i",
        "ó": "o",
        "ú": "u",
        "ñ": "n",
        "ç": "c",
    }
)


def _is_fraud_value(value: str) -> bool:
    low = value.lower()
    return bool(lex.FRAUD_VALUES.fullmatch(low)) and not lex.NOT_FRAUD_VALUES.search(low) and len(low) <= 40


def _epoch(p: Profile) -> str:
    """Return the unit of a count since 1970, where the numbers lie in this century or the last years of the other."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)):
        if p.numeric > _SURE and 6e8 * scale < p.low <= p.high < 4.1e9 * scale:
            return f"{unit} since 1970-01-01"
    return ""


def _clock_format(p: Profile) -> str:
    cell = p.samples[0]
    twelve = cell[-1:] in "mM."
    return ("%I" if twelve else "%H") + ":%M" + (":%S%.f" if cell.count(":") == 2 else "") + (" %p" if twelve else "")
