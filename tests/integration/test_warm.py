"""After the warm-up nothing is left to compile: the first payment of a fresh machine does not wait for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from avalist.app.index import _find, _grown, _put
from avalist.app.warm import warm_up
from avalist.app.administer import CreateMerchant
from avalist.features import block, kernel, rings, widen
from avalist.features.state import SHORT
from avalist.features.own import OwnFeature
from avalist.models import calibrate, score, trees
from tests.shop import SCHEMA, T0_MS, opened, event, payment

def compiled():
    parts = [kernel.run, block.run_block, rings.link, widen.widen, _find, _put, _grown]
    return [len(part.signatures) for part in parts]

with opened(Path(sys.argv[1])) as shop:
    shop.create()
    warm_up(list(shop.writer.merchants.values()))
    before = compiled()
    shop.record(event("login", "l1", customer={"id": "ann"}))
    own = (OwnFeature(aggregate="min", entity="card", window="1d"),
           OwnFeature(aggregate="ring", entity="account", links=("account", "card")))
    shop.installation.administration.carry_out(CreateMerchant("other", SCHEMA, own), T0_MS)
    for n in range(3):
        shop.decide(n)
        shop.decide(n, "other")
    rows = np.zeros((SHORT + 1, shop.writer.merchant("shop").plan.width), dtype=np.int64)
    shop.writer.merchant("shop").features.run(rows, rows[:, 0] == 0)
    print(before, compiled())
    sys.exit(before != compiled())
"""


def test_a_decision_compiles_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
