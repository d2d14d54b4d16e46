"""Examples of requests and answers, for the OpenAPI document. Tests send the requests and decode the answers."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from avalist.domain.schema import DIGITAL_GOODS
from avalist.policy.economics import Policy

Example = dict[str, Any]

_AT = "2026-11-25T12:00:00Z"
_CUSTOMER: Final[Example] = {
    "id": "c77", "email": "ann@example.com", "phone": "+49 30 1234567", "name": "Ann Example",
    "created_at": "2026-01-05T09:30:00Z", "language": "de",
}  # fmt: skip
_DEVICE: Final[Example] = {
    "id": "d-5f2", "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)", "screen": "390x844",
    "timezone": "Europe/Berlin", "language": "de-DE",
}  # fmt: skip
_SESSION: Final[Example] = {
    "id": "s-9",
    "duration_ms": 94000,
    "pages": 6,
    "key_presses": 41,
    "pointer_moves": 210,
    "pastes": 1,
}
_WHO: Final[Example] = {"customer": _CUSTOMER, "device": _DEVICE, "session": _SESSION, "ip": "8.8.4.4", "custom": {}}

PAYMENT: Final[Example] = {
    "type": "payment", "event_id": "evt-1", "payment_id": "order-1", "occurred_at": _AT, "checkpoint": "pre_auth",
    "amount_minor": 5000, "currency": "EUR",
    "cart": [{"kind": "gift_card", "sku": "gc-50", "brand": "Example", "quantity": 1, "unit_amount_minor": 5000}],
    "method": {"kind": "card", "fingerprint": "tok_9f2", "bin": "411111", "last4": "1111", "expiry": "2029-04"},
    **_WHO, "billing": {"name": "Ann Example", "city": "Berlin", "postcode": "10115", "country": "DE"},
    "payee": {"id": "bob", "kind": "friend"}, "custom": {"campaign": "autumn"},
}  # fmt: skip

_REASON: Final[Example] = {"feature": "card__count__events__10m", "value": 1.0, "contribution": -0.21}
DECISION: Final[Example] = {
    "payment_id": "order-1", "event_id": "evt-1", "checkpoint": "pre_auth", "action": "approve", "seq": 1042,
    "engine": 2, "mode": "live", "advised_action": None, "p_fraud": 0.003217, "risk_score": 41, "reasons": [_REASON],
    "warnings": ["device_missing"], "missing": ["device.id"],
    "expected_profit_minor": {"approve": 734, "decline": 0}, "cover": "unrequested",
    "model_version": "5d0c6e8a1b2f", "policy_version": "0f9e8d7c", "degraded": False, "durable": True,
    "generation": 1,
    "propensity": 1.0, "factors": [], "review_deadline_s": None, "review_default": None,
}  # fmt: skip
_FACTS: Final[Example] = {
    "tables_version": 1, "currency": "EUR", "amount_minor": 5000, "amount_base_minor": 5000,
    "occurred_at_ms": 1795608000000, "email_domain": "example.com", "email_shape": "a3@example.com",
    "device_class": "mobile", "method_kind": "card", "bin": "411111", "billing_country": "DE",
    "item_kind": "gift_card", "product": "gc-50", "items": 1, "account_age_s": 28002600, "session": True,
}  # fmt: skip
STORED: Final[Example] = {
    "decision": DECISION, "facts": _FACTS, "features": {"amount": 5000.0, "card__since_last": None},
    "words": "approve earns 7.34, decline earns 0.00",
}  # fmt: skip
FOUND: Final[Example] = {"decisions": [{"decision": DECISION, "facts": _FACTS}], "next": None}
LOOKUP: Final[Example] = {"by": "email", "value": "ann@example.com", "limit": 50, "before": 5000}
LOOKUP_PAYMENT: Final[Example] = {"by": "payment_id", "value": "order-1"}

_EVENT: Final[Example] = {"occurred_at": _AT, "sent_at": "2026-11-25T12:00:01Z", "version": 1}
LOGIN: Final[Example] = {"type": "login", "event_id": "login-1", **_EVENT, **_WHO, "ok": False}
EVENTS: Final[dict[str, Example]] = {
    "sign_up": {"type": "sign_up", "event_id": "sign-up-1", **_EVENT, **_WHO},
    "profile_change": {"type": "profile_change", "event_id": "profile-1", **_EVENT, **_WHO, "changed": ["email"]},
    "kyc_step": {"type": "kyc_step", "event_id": "kyc-1", **_EVENT, **_WHO, "step": "document", "result": "passed"},
    "session": {"type": "session", "event_id": "session-1", **_EVENT, **_WHO},
    "past_payment": {**PAYMENT, "event_id": "past-1", "payment_id": "order-0", "captured": True},
}
_OUTCOME: Final[Example] = {**_EVENT, "payment_id": "order-1"}
OUTCOMES: Final[dict[str, Example]] = {
    "authorisation_result": {
        "type": "authorisation_result", "event_id": "auth-1", **_OUTCOME, "approved": True, "issuer_code": "00",
        "avs": "Y", "cvv": "M", "three_d_secure": "none",
    },
    "capture": {"type": "capture", "event_id": "cap-1", **_OUTCOME, "amount_minor": 5000},
    "void": {"type": "void", "event_id": "void-1", **_OUTCOME},
    "refund": {"type": "refund", "event_id": "refund-1", **_OUTCOME, "amount_minor": 5000},
    "early_fraud_warning": {
        "type": "early_fraud_warning", "event_id": "efw-1", **_OUTCOME, "scheme": "visa", "reason_code": "6",
    },
    "chargeback": {
        "type": "chargeback", "event_id": "cb-1", **_OUTCOME, "stage": "opened", "fraud": True, "reason_code": "10.4",
        "amount_minor": 5000,
    },
    "label": {"type": "label", "event_id": "label-1", **_OUTCOME, "fraud": True, "source": "analyst"},
    "review": {"type": "review", "event_id": "review-1", **_OUTCOME, "verdict": "approve", "by": "kim"},
}  # fmt: skip
_DETAILED: Final[Example] = {
    **_SESSION, "id": "s-10", "journey": ["home", "product", "cart", "pay"],
    "timings": {"first_input_ms": 2100, "form_ms": 31000, "idle_ms": 8000, "last_input_before_pay_ms": 900},
    "typing": {"hold_ms": 92, "flight_ms": 170, "hold_spread": 0.41, "flight_spread": 0.62, "corrections": 3},
    "pointer": {"speed": 640.5, "detour": 1.24, "clicks": 14, "pause_ms": 350},
    "touch": {"taps": 0, "swipes": 0, "hold_ms": 80, "hold_spread": 0.3},
    "pasted": ["card"], "tells": [],
    "device": {"cores": 8, "memory_mb": 8192, "touch_points": 0, "renderer": "f3a1", "fonts": "9c0d"},
}  # fmt: skip
SESSION: Final[Example] = {"event_id": "session-10", **_EVENT, **_WHO, "session": _DETAILED}
SESSION_LATER: Final[Example] = {
    "type": "session", "event_id": "session-11", "occurred_at": _AT, "session": {**_DETAILED, "duration_ms": 120000},
}  # fmt: skip
RECORDED_SESSION: Final[Example] = {"recorded": 1, "errors": []}
ALERT: Final[Example] = {
    "type": "wave.opened", "wave": "order-9", "at_ms": 1795608540000,
    "words": "9 payments of 450.00 EUR in 9 minutes. They share BIN 411111 (100 % of them, 2 % of others). It goes on.",
    "payments": 9, "amount_minor": 45000, "currency": "EUR", "first_ms": 1795608000000, "last_ms": 1795608540000,
    "patterns": ["payment_pattern"], "shared": [{"fact": "bin", "value": "411111", "share": 1.0, "usual": 0.02}],
    "listed": [{"payment_id": "order-1", "at_ms": 1795608000000, "amount_minor": 5000}],
}  # fmt: skip
QUEUE: Final[Example] = {
    "reviews": [
        {
            "review": {
                "payment_id": "order-1", "seq": 1042, "asked_ms": 1795608000000, "amount_minor": 5000,
                "currency": "EUR", "value_minor": 310, "p_fraud": 0.11, "risk_score": 97, "reasons": [_REASON],
                "deadline_ms": 1795611600000, "default": "decline", "verdict": "", "by": "", "settled_ms": None,
            },
            "state": "open",
        }
    ],
    "settled": 12, "lapsed": 1, "capacity_per_day": 50,
}  # fmt: skip
BATCH: Final = [{**LOGIN, "event_id": "login-2"}, {**OUTCOMES["capture"], "event_id": "cap-2"}]
RECORDED: Final[Example] = {"recorded": 8, "errors": []}
RECORDED_SOME: Final[Example] = {
    "recorded": 1,
    "errors": [
        {
            "at": 1, "event_id": "cap-2",
            "problem": {
                "type": "/problems#not-found", "title": "Not found", "status": 404,
                "detail": "no payment 'order-1' of this merchant: send it before its outcomes",
            },
        }
    ],
}  # fmt: skip

PROBLEM: Final[Example] = {
    "type": "/problems#bad-input", "title": "Bad input", "status": 422,
    "detail": "Expected `int`, got `str` - at `$.amount_minor`", "field": "$.amount_minor", "expected": "int",
    "got": "str",
}  # fmt: skip

_SHOP: Final = "shop"
ADMIN: Final[dict[str, Example]] = {
    "create_merchant": {
        "do": "create_merchant", "merchant": "newshop", "schema": msgspec.to_builtins(DIGITAL_GOODS, str_keys=True),
    },
    "issue_key": {
        "do": "issue_key", "merchant": _SHOP, "kind": "live", "scopes": ["outcomes:write"], "rate_per_s": 50,
        "lifetime_s": 86400,
    },
    "list_keys": {"do": "list_keys", "merchant": _SHOP},
    "rotate_key": {"do": "rotate_key", "merchant": _SHOP, "key": "0123456789ab", "overlap_s": 86400},
    "revoke_key": {"do": "revoke_key", "merchant": _SHOP, "key": "0123456789ab"},
    "set_mode": {"do": "set_mode", "merchant": _SHOP, "mode": "observe"},
    "set_policy": {"do": "set_policy", "merchant": _SHOP, "policy": msgspec.to_builtins(Policy())},
    "activate_model": {
        "do": "activate_model", "merchant": _SHOP, "version": "5d0c6e8a1b2f", "plan_hash": "a1b2c3d4e5f60718",
    },
    "settle_review": {
        "do": "settle_review", "merchant": _SHOP, "payment": "order-1", "verdict": "approve", "by": "kim",
    },
    "show": {"do": "show", "merchant": _SHOP},
}  # fmt: skip
ADMIN_ANSWERS: Final[dict[str, Example]] = {
    "merchant": {
        "merchant": _SHOP, "mode": "live", "inputs": 1042, "entities": 311, "features": 118,
        "plan": "a1b2c3d4e5f60718", "model": "5d0c6e8a1b2f", "policy": "0f9e8d7c",
    },
    "key": {"merchant": _SHOP, "key": "av_live_shop_…", "id": "0123456789ab"},
    "keys": {
        "merchant": _SHOP,
        "keys": [
            {
                "id": "0123456789ab", "prefix": "av_live_shop_Xy3k", "merchant": _SHOP, "kind": "live",
                "scopes": ["decisions:write"], "issued_at_ms": 1795600000000, "expires_at_ms": None,
                "last_used_at_ms": 1795608000000, "rate_per_s": None,
            }
        ],
    },
}  # fmt: skip
WEBHOOKS: Final[dict[str, Example]] = {
    "add_webhook": {
        "do": "add_webhook", "merchant": _SHOP, "url": "https://shop.example/hooks", "topics": ["wave.alert"],
    },
    "list_webhooks": {"do": "list_webhooks", "merchant": _SHOP},
    "rotate_webhook": {
        "do": "rotate_webhook", "merchant": _SHOP, "webhook": "wh_0123456789ab", "overlap_s": 86400,
    },
    "remove_webhook": {"do": "remove_webhook", "merchant": _SHOP, "webhook": "wh_0123456789ab"},
    "list_dead_letters": {"do": "list_dead_letters", "merchant": _SHOP},
    "replay_dead_letters": {"do": "replay_dead_letters", "merchant": _SHOP, "letters": []},
}  # fmt: skip
WEBHOOK_ANSWERS: Final[dict[str, Example]] = {
    "webhook": {"merchant": _SHOP, "webhook": "wh_0123456789ab", "secret": "whsec_…"},
    "webhooks": {
        "merchant": _SHOP,
        "webhooks": [
            {
                "id": "wh_0123456789ab", "url": "https://shop.example/hooks", "topics": ["wave.alert"],
                "added_at_ms": 1795600000000, "signing": 1, "pending": 0, "dead": 1,
            }
        ],
    },
    "dead_letters": {
        "merchant": _SHOP, "replayed": 0,
        "letters": [
            {
                "id": "msg_shop_1_1042_wave.alert@wh_0123456789ab", "webhook": "wh_0123456789ab",
                "topic": "wave.alert", "subject": "wave", "attempts": 11, "failed": "it answered 503",
            }
        ],
    },
}  # fmt: skip
