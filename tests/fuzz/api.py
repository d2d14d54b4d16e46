"""Fuzz a running service from its OpenAPI document: ``make fuzz MINUTES=60``, or ``python -m tests.fuzz.api --help``.

Every answer is checked against the document and may not be a 5xx; after every refusal the log must end where it
ended. At the end, memory, open files and what the service printed are compared with what they were after warming up.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import requests
import schemathesis
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode, Response
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from avalist.adapters.file.secrets import FolderSecrets
from avalist.api.operations import OPERATIONS
from avalist.api.version import CURRENT, VERSION_HEADER
from avalist.bootstrap import open_log
from avalist.config import Settings
from avalist.domain.records import RecordKind
from tests.live import Connection, Service
from tests.shop import SCHEMA, payment_json

CHECKS: Final = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_ACCESS: Final = {(op.method, op.path): op.access for op in OPERATIONS}
GROWN_RSS_MB: Final = 64.0
GROWN_FILES: Final = 8


class Fuzz:
    """One service under fire, and what became of it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._url = f"http://127.0.0.1:{service.port}"
        secrets = FolderSecrets(service.folder / "secrets")
        self._tokens = {"admin": secrets.admin_token(), "metrics": secrets.metrics_token()}
        self._key = self._prepare()
        self._log = open_log(Settings(data=service.folder), readonly=True)
        self._at = 0
        self._session = requests.Session()
        self.statuses: Counter[int] = Counter()
        self.records: Counter[str] = Counter()
        self._follow()
        self.records.clear()
        self.schema = schemathesis.openapi.from_url(f"{self._url}/openapi.json")

    def _prepare(self) -> str:
        with Connection(self._service.port, self._tokens["admin"]) as admin:
            schema = {name: getattr(SCHEMA, name) for name in SCHEMA.__struct_fields__}
            admin.json("POST", "/v1/admin", {"do": "create_merchant", "merchant": "shop", "schema": schema})
            answer = admin.json("POST", "/v1/admin", {"do": "issue_key", "merchant": "shop", "kind": "simulation"})
        key = str(answer["key"])
        with Connection(self._service.port, key) as merchant:
            merchant.json("POST", "/v1/decisions", payment_json(1))
        return key

    def _follow(self) -> int:
        """Return how many bytes the log holds more than when it was asked last, and count its records."""
        before, self._at = self._at, self._log.end
        for _, record in self._log.read(before, self._at) if self._at > before else ():
            self.records[RecordKind(record.kind).name.lower()] += 1
        return self._at - before

    def round(self, number: int, examples: int) -> None:
        """Send every operation `examples` requests that fit its schema, and as many that do not."""
        operations = [found.ok() for found in self.schema.get_all_operations() if isinstance(found, Ok)]
        for operation in operations:
            for mode in GenerationMode:
                with suppress(Unsatisfiable):  # an operation that takes nothing cannot be called wrongly
                    self._strike(operation, mode, number, examples)

    def _strike(
        self, operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, number: int, examples: int
    ) -> None:
        quiet = settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))

        @seed(number)
        @quiet
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Case[Any]) -> None:
            assume(not _grows(case))
            if mode.is_positive:
                _make_likely(case.body, sum(self.statuses.values()))
            self._send(case)

        send()

    def _send(self, case: Case[Any]) -> None:
        access = _ACCESS[case.operation.method.upper(), case.operation.path]
        bearer = self._tokens.get(access, self._key)
        headers = {"Authorization": f"Bearer {bearer}"}
        if case.operation.body:  # else most that do not fit would be refused for this alone
            headers[VERSION_HEADER] = CURRENT
        if case.operation.path == "/v1/decisions":
            headers["Avalist-Deadline-Ms"] = "10000"
        answer: Response = case.call(base_url=self._url, headers=headers, session=self._session)
        self.statuses[answer.status_code] += 1
        assert answer.status_code < 500, (answer.status_code, answer.content, case.as_curl_command())
        case.validate_response(answer, checks=CHECKS)
        more = self._follow()
        assert not more or answer.status_code < 300, (more, answer.status_code, case.as_curl_command())

    def figures(self) -> dict[str, float]:
        """Return what may not grow."""
        pid = self._service.decider()
        status = Path(f"/proc/{pid}/status").read_text()
        rss_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return {
            "rss_mb": round(rss_kb / 1024, 1),
            "files": len(os.listdir(f"/proc/{pid}/fd")),
            "log_bytes": self._log.end,
            "printed_bytes": Path(f"{self._service.folder}.said").stat().st_size,
        }


def _grows(case: Case[Any]) -> bool:
    """Tell whether a request makes a merchant: those take memory by design."""
    body: Any = case.body
    return isinstance(body, dict) and body.get("do") == "create_merchant" and case.operation.path == "/v1/admin"


def _make_likely(body: Any, number: int) -> None:
    """Give events what only the shop knows to fit, so that many are recorded: new ids, its currency, times near."""
    for place, event in enumerate(body if isinstance(body, list) else [body]):
        if isinstance(event, dict) and "occurred_at" in event:
            event["occurred_at"] = "2026-01-01T00:00:00Z"
            event["event_id"] = f"fuzz-{number}-{place}"
            event.pop("received_at", None)
            event.pop("sent_at", None)
            if "currency" in event:
                event["currency"] = "EUR"
                event["payment_id"] = event["event_id"]
            elif "payment_id" in event:
                event["payment_id"] = "p1"


def fuzz(folder: Path, *, minutes: float, examples: int, first: int = 0) -> dict[str, Any]:
    """Fuzz a service of its own for so long, at least one round; return the figures. Raises on the first defect."""
    service = Service(folder)
    try:
        under_fire = Fuzz(service)
        until, number = time.monotonic() + minutes * 60, first
        under_fire.round(number, examples)
        warm = under_fire.figures()
        while time.monotonic() < until:
            number += 1
            under_fire.round(number, examples)
            print(number, sum(under_fire.statuses.values()), under_fire.figures(), file=sys.stderr, flush=True)
        now = under_fire.figures()
        assert now["rss_mb"] - warm["rss_mb"] < GROWN_RSS_MB, (warm, now)
        assert now["files"] - warm["files"] <= GROWN_FILES, (warm, now)
        assert now["printed_bytes"] == warm["printed_bytes"], (folder, warm, now)
        statuses = {str(status): count for status, count in sorted(under_fire.statuses.items())}
        return {
            "requests": sum(under_fire.statuses.values()), "rounds": number - first + 1, "statuses": statuses,
            "records": dict(under_fire.records), "warm": warm, "end": now,
        }  # fmt: skip
    finally:
        service.stop()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Fuzz a service from its OpenAPI document.")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--examples", type=int, default=100, help="requests a mode and operation in each round")
    parser.add_argument("--first", type=int, default=1, help="seed of the first round; each round adds one")
    given_ = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(
            json.dumps(
                fuzz(Path(folder) / "data", minutes=given_.minutes, examples=given_.examples, first=given_.first)
            )
        )


if __name__ == "__main__":
    main()
