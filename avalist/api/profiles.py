"""What a gateway knows of merchants: their profiles, as deciders publish them."""

from __future__ import annotations

import msgspec

from avalist.app.administer import KEY_USE
from avalist.app.profile import Profile, decode_profile
from avalist.domain.core import EventCore
from avalist.domain.decisions import Decision
from avalist.domain.errors import NotFound
from avalist.domain.events import Payment
from avalist.domain.keys import ApiKey
from avalist.domain.schema import Schema
from avalist.enrich.intake import Intake
from avalist.enrich.seal import Secret
from avalist.policy.economics import Policy
from avalist.policy.evaluate import fall_back
from avalist.ports.documents import Documents


class _Known:
    def __init__(self, profile: Profile, secret: Secret) -> None:
        self.profile = profile
        self.policy: Policy = profile.decoded_policy()
        self._secret = secret
        self._intake: Intake | None = None

    @property
    def intake(self) -> Intake:
        """Return what makes facts of its events; made on first use, without tables: a fallback needs none."""
        if self._intake is None:
            self._intake = Intake(self.profile.schema, self._secret(self.profile.merchant))
        return self._intake


class Profiles:
    """Merchants as published, and their keys. On the event loop alone, but for :meth:`save_use`."""

    def __init__(self, secret: Secret, documents: Documents) -> None:
        self._secret = secret
        self._documents = documents
        self._known: dict[str, _Known] = {}
        self.keys: dict[str, ApiKey] = {}
        self.used: dict[str, int] = {}
        self._saved: dict[str, int] = {}

    def put(self, value: bytes) -> None:
        """Take note of a profile; one of a writer whose turn is over counts no more."""
        profile = decode_profile(value)
        before = self._known.get(profile.merchant)
        if before is not None:
            if before.profile.epoch > profile.epoch:
                return
            for key in before.profile.keys:
                self.keys.pop(key.hash, None)
        self._known[profile.merchant] = _Known(profile, self._secret)
        self.keys.update((key.hash, key) for key in profile.keys)

    def save_use(self) -> None:
        """Store when keys were last used, where it changed."""
        used = dict(self.used)
        fresh = [hash for hash, at_ms in used.items() if self._saved.get(hash) != at_ms and hash in self.keys]
        if fresh:
            rows = [(self.keys[hash].merchant, KEY_USE, hash, msgspec.json.encode(used[hash])) for hash in fresh]
            self._documents.put_many(rows)
            self._saved = used

    def __len__(self) -> int:
        return len(self._known)

    def policy(self, merchant: str) -> Policy:
        """Return a merchant's policy. Raises ``NotFound``."""
        return self._of(merchant).policy

    def schema(self, merchant: str) -> Schema:
        """Return a merchant's schema. Raises ``NotFound``."""
        return self._of(merchant).profile.schema

    def key(self, merchant: str, value: str) -> int:
        """Return the merchant's keyed hash of a clear value."""
        return self._of(merchant).intake.key(value)

    def fallback(self, merchant: str, event: Payment) -> Decision:
        """Return the merchant's fallback for a payment: without ``seq``, for its writer gave it none.

        Raises ``BadInput`` where the payment does not fit the merchant's schema.
        """
        known = self._of(merchant)
        _, facts = known.intake.payment(event)
        core = EventCore(event.type, event.event_id, b"", event.payment_id, event.checkpoint, b"", facts)
        return fall_back(core, 0, known.policy, known.profile.mode, known.profile.versions)

    def _of(self, merchant: str) -> _Known:
        try:
            return self._known[merchant]
        except KeyError:
            raise NotFound(f"no merchant {merchant!r}: create it with 'avalist merchant create {merchant}'") from None
