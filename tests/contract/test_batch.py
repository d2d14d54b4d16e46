"""Everything that works on many merchants keeps the contract of ports/batch.py."""

from __future__ import annotations

import gc
import os
import signal
import threading
import warnings
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import cast

import pytest

from avalist.adapters.processes import Processes
from avalist.domain.errors import AvalistError, BadInput, NotFound, Unavailable
from avalist.ports.batch import Batch


def work(factor: int, merchant: str) -> tuple[str, int]:
    """Return who worked, and for some merchants something else."""
    if merchant == "unknown":
        raise NotFound("no merchant 'unknown'")
    if merchant == "wrong":
        raise BadInput("wrong", field="f", expected="e", got="g")
    if merchant == "broken":
        raise ZeroDivisionError
    if merchant == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return merchant * factor, os.getpid()


class BatchContract:
    @pytest.fixture
    def batch(self) -> Batch:
        raise NotImplementedError

    def test_results_come_in_order_from_other_processes(self, batch: Batch) -> None:
        merchants = [f"m{n}" for n in range(6)]
        results = [one for one in batch.map(partial(work, 2), merchants) if not isinstance(one, AvalistError)]
        assert [name for name, _ in results] == [merchant * 2 for merchant in merchants]
        assert os.getpid() not in {pid for _, pid in results}

    def test_an_error_of_ours_stands_in_the_place_of_a_result(self, batch: Batch) -> None:
        unknown, wrong, fine = batch.map(partial(work, 1), ["unknown", "wrong", "fine"])
        assert isinstance(unknown, NotFound)
        assert isinstance(wrong, BadInput)
        assert (str(unknown), wrong.field, wrong.got) == ("no merchant 'unknown'", "f", "g")
        assert not isinstance(fine, AvalistError)

    def test_a_defect_is_raised(self, batch: Batch) -> None:
        with pytest.raises(ZeroDivisionError):
            list(batch.map(partial(work, 1), ["fine", "broken"]))

    def test_a_worker_that_dies_takes_no_other_along(self, batch: Batch) -> None:
        first, dead, last = batch.map(partial(work, 1), ["a", "deadly", "b"])
        assert isinstance(dead, Unavailable)
        assert [one[0] for one in (first, last) if not isinstance(one, AvalistError)] == ["a", "b"]

    def test_nobody_is_nothing(self, batch: Batch) -> None:
        assert list(batch.map(partial(work, 1), [])) == []


class TestProcesses(BatchContract):
    @pytest.fixture
    def batch(self) -> Batch:
        return Processes(2)

    def test_who_stops_asking_has_nobody_new_begun(self, monkeypatch: pytest.MonkeyPatch) -> None:
        begun: list[str] = []
        shut = threading.Event()

        def slow(merchant: str) -> None:
            begun.append(merchant)
            if merchant == "slow":
                shut.wait()

        class Threads(ThreadPoolExecutor):
            def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
                super().shutdown(wait=False, cancel_futures=cancel_futures)
                shut.set()
                super().shutdown(wait)

        monkeypatch.setattr(Processes, "_pool", lambda self, workers: Threads(workers))
        results = cast("Generator[object, None, None]", Processes(1).map(slow, ["fine", "slow", "late", "later"]))
        next(results)
        results.close()
        assert set(begun) <= {"fine", "slow"}


PATIENT = {
    "gcs_server_port_wait_time_s": "600", "worker_register_timeout_seconds": "600",
    "health_check_failure_threshold": "100", "memory_monitor_refresh_ms": "0",
}  # fmt: skip
"""On a busy machine Ray's own times are short."""


def started() -> Batch:
    """Start Ray on this machine; again where that took it longer than half a minute."""
    import ray

    from avalist.adapters.ray.batch import RayBatch

    for _ in range(9):
        with suppress(Unavailable):
            return RayBatch("")
        ray.shutdown()
    return RayBatch("")


@pytest.mark.slow
@pytest.mark.sockets
@pytest.mark.filterwarnings("ignore")
class TestRay(BatchContract):
    @pytest.fixture(scope="class")
    def batch(self) -> Iterator[Batch]:
        import ray

        with pytest.MonkeyPatch.context() as patched:
            for name, value in PATIENT.items():
                patched.setenv(f"RAY_{name}", value)
            yield started()
        with warnings.catch_warnings():  # Ray ends its servers, but does not wait for them
            warnings.simplefilter("ignore")
            ray.shutdown()
            gc.collect()
