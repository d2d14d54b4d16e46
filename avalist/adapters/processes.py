"""Batch work on processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from avalist.domain.errors import AvalistError, Unavailable

R = TypeVar("R")


class Processes:
    """Works on so many merchants at once, in processes that are started afresh: they inherit no lock and no thread.

    When a worker dies, all who worked beside it die too. Whom it may have been is tried once more, each alone.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def map(self, fn: Callable[[str], R], merchants: Sequence[str]) -> Iterator[R | AvalistError]:
        """Yield what `fn` returns for each merchant, in their order; where that ends early, nobody new is begun."""
        pool = self._pool(self._workers)
        try:
            asked = [pool.submit(tried, fn, merchant) for merchant in merchants]
            for merchant, future in zip(merchants, asked, strict=True):
                try:
                    yield future.result()
                except BrokenProcessPool:
                    yield self._alone(fn, merchant)
        finally:
            pool.shutdown(cancel_futures=True)

    def _alone(self, fn: Callable[[str], R], merchant: str) -> R | AvalistError:
        with self._pool(1) as pool:
            future: Future[R | AvalistError] = pool.submit(tried, fn, merchant)
            try:
                return future.result()
            except BrokenProcessPool:
                return Unavailable(f"the process that worked on {merchant} died: is there memory enough?")

    def _pool(self, workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def tried(fn: Callable[[str], R], merchant: str) -> R | AvalistError:
    """Return what `fn` returns for a merchant, or the error of ours that it raises."""
    try:
        return fn(merchant)
    except AvalistError as error:
        return error.alone()
