"""What each warning says: the field it is about, and one sentence."""

from __future__ import annotations

from typing import Final, NamedTuple

from avalist.domain.decisions import WarningCode as W

FUTURE_MS: Final = 300_000
LONG_AGO_MS: Final = 86_400_000
FEWEST_PAYMENTS: Final = 100
UNUSUAL_TIMES: Final = 10


class Meaning(NamedTuple):
    """The field that a warning is about, empty if none, and what it says."""

    field: str
    sentence: str


MEANINGS: Final = {
    W.NO_ACTIVE_MODEL: Meaning("", "No model is active, so nothing was scored: train one."),
    W.TEST_PAYMENT: Meaning("", "A sandbox test payment: the answer is the one it asked for."),
    W.CUSTOMER_MISSING: Meaning("customer", "The schema follows accounts, and the payment names none."),
    W.EMAIL_MISSING: Meaning("customer.email", "The schema follows e-mail addresses, and the payment has none."),
    W.EMAIL_MALFORMED: Meaning("customer.email", "The e-mail address has no domain."),
    W.METHOD_MISSING: Meaning("method", "The schema follows cards or accounts paid from, and the payment names none."),
    W.BIN_MISSING: Meaning("method.bin", "The schema follows BINs, and the card comes without one."),
    W.DEVICE_MISSING: Meaning("device.id", "The schema follows devices, and the payment names none."),
    W.IP_MISSING: Meaning("ip", "The schema follows IP addresses, and the payment has none."),
    W.IP_NOT_PUBLIC: Meaning("ip", "The IP is no public address: a proxy's, perhaps, in place of the customer's."),
    W.SESSION_MISSING: Meaning("session", "The schema follows sessions: none came, nor was one logged under its id."),
    W.FIELDS_MISSING: Meaning("", "The schema declares more that the payment lacks: `missing` names all of it."),
    W.CREATED_AFTER_OCCURRED: Meaning("customer.created_at", "The account was created after the payment."),
    W.OCCURRED_IN_FUTURE: Meaning("occurred_at", "The payment is more than five minutes ahead of its arrival."),
    W.OCCURRED_LONG_AGO: Meaning("occurred_at", "The payment arrived more than a day after it happened."),
    W.CURRENCY_NEW: Meaning("currency", "None of a hundred payments or more came in this currency before."),
    W.AMOUNT_UNUSUAL: Meaning("amount_minor", "Over ten times the largest of a hundred payments or more before it."),
    W.WAVE: Meaning("", "A wave goes on: payments of other accounts with the same habits came in a burst."),
}
