"""A kernel that was compiled from other sources must not be taken from the cache."""

from __future__ import annotations

from pathlib import Path

import avalist
from avalist.features.jit import sources

PACKAGE = Path(avalist.__file__).parent


def test_the_cache_is_named_after_what_kernels_import() -> None:
    names = {str(path.relative_to(PACKAGE)) for path in sources()}
    assert {"features/kernel.py", "features/elementary.py", "domain/row.py", "models/trees.py", "api/scan.py"} <= names
    assert "cli/demo.py" not in names
