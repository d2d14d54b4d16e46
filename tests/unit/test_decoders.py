"""Types are learnt on one thread: two that learn one at once can end the process."""

from __future__ import annotations

import subprocess
import sys

_MANY_AT_ONCE = """
import sys, threading, msgspec
from avalist.app.lineage import Standing
from avalist.app.snapshot import _Contents
from avalist.domain.decoders import learn_types
from avalist.policy.economics import Policy

contents = {"code": "x", "position": 1, "last": [1, b""], "notes": b"",
            "entries": [{"merchant": "a", "name": "b", "seq": 1, "proof": b""}]}
stored = [(Policy, Policy()), (Standing, Standing()), (_Contents, contents)]
learn_types()
sys.setswitchinterval(1e-7)
begin = threading.Barrier(10)

def decode():
    begin.wait()
    for kind, value in stored:
        msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=kind)

threads = [threading.Thread(target=decode) for _ in range(10)]
for one in threads:
    one.start()
for one in threads:
    one.join()
"""


def test_many_threads_decode_the_same_types() -> None:
    for _ in range(3):  # without learn_types two of three processes die
        subprocess.run([sys.executable, "-c", _MANY_AT_ONCE], check=True)
