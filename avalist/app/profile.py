"""What gateways must know of a merchant to ask for it, and to answer in a decider's place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

import msgspec

from avalist.app.merchant import Merchant
from avalist.domain.decisions import Mode, Versions
from avalist.domain.keys import ApiKey
from avalist.domain.schema import Schema
from avalist.policy.economics import Policy, decode_policy


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant as of its last change. `epoch` is its writer's: one of an older epoch counts no more.

    `keys` are hashes; `policy` is JSON.
    """

    merchant: str
    epoch: int
    schema: Schema
    policy: bytes
    mode: Mode
    versions: Versions
    keys: tuple[ApiKey, ...]

    def decoded_policy(self) -> Policy:
        """Return the policy."""
        return decode_policy(self.policy)


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a profile that says whose it is, and of which writer."""

    merchant: str
    epoch: int


encode_profile = msgspec.msgpack.Encoder().encode
decode_profile = msgspec.msgpack.Decoder(Profile).decode
_PUBLISHED = msgspec.msgpack.Decoder(Published)


def published(values: Iterable[bytes]) -> Iterator[Published]:
    """Yield whose profiles these are, and of which writers; what is none is left out."""
    for value in values:
        with suppress(msgspec.MsgspecError):
            yield _PUBLISHED.decode(value)


def profile_of(merchant: Merchant, keys: Iterable[ApiKey], epoch: int) -> Profile:
    """Return the profile of a merchant; `keys` may be those of others too."""
    return Profile(
        merchant=merchant.id,
        epoch=epoch,
        schema=merchant.schema,
        policy=msgspec.json.encode(merchant.policy),
        mode=merchant.mode,
        versions=merchant.versions,
        keys=tuple(key for key in keys if key.merchant == merchant.id),
    )
