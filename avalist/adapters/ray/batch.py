"""Batch work on a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from avalist.adapters.processes import tried
from avalist.domain.errors import AvalistError, Unavailable

R = TypeVar("R")


class RayBatch:
    """Works on merchants wherever the cluster has a processor free.

    `address` names a cluster, such as ``ray://head:10001`` or ``auto``; empty starts one on this machine, which ends
    with this process. Its machines need Avalist, and must reach the log, the documents and the blobs. Nothing is told
    to Ray's makers, unless the environment asks for it.
    """

    def __init__(self, address: str) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if not ray.is_initialized():
            try:
                ray.init(address=address or "local", include_dashboard=False, log_to_driver=False)
            except Exception as error:
                raise Unavailable(f"no Ray cluster at {address!r}: {error}") from error

    def map(self, fn: Callable[[str], R], merchants: Sequence[str]) -> Iterator[R | AvalistError]:
        """Yield what `fn` returns for each merchant, in their order. A worker that dies is tried again by Ray."""
        remote = ray.remote(tried)
        asked = [remote.remote(fn, merchant) for merchant in merchants]
        for merchant, reference in zip(merchants, asked, strict=True):
            try:
                yield ray.get(reference)
            except RayTaskError:
                raise
            except RayError as error:
                yield Unavailable(f"the worker on {merchant} died: {str(error).partition(chr(10))[0]}")
