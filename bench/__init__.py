"""Benchmarks: run one as ``python -m bench.NAME``. Data come from ``../shared/data`` and are never committed."""
