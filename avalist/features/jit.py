"""The one typed wrapper around numba's untyped decorator."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar, cast

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np import arrayobj

P = ParamSpec("P")
R = TypeVar("R")


_PACKAGE: Final = Path(__file__).parents[1]
_ROOMS: Final = ("api", "app", "features", "models")
_IMPORTS: Final = re.compile(r"^from avalist\.([\w.]+) import (\w+)", re.M)


def sources() -> list[Path]:
    """Return the modules that hold kernels, and all that these import: what a compiled kernel may be made of."""
    found: dict[Path, str] = {}
    wanted = [path for room in _ROOMS for path in (_PACKAGE / room).glob("*.py") if "@jit" in path.read_text()]
    while wanted:
        path = wanted.pop()
        if path not in found and path.exists():
            text = found[path] = path.read_text()
            for module, name in _IMPORTS.findall(text):
                place = _PACKAGE / module.replace(".", "/")
                wanted += [place.with_suffix(".py"), place / f"{name}.py"]
    return sorted(found)


def _cache_folder() -> Path:
    """Name a cache after the sources: numba alone would not notice a change in a function that a kernel calls."""
    digest = hashlib.blake2b(b"".join(p.read_bytes() for p in sources()), digest_size=8).hexdigest()
    return _PACKAGE / "__pycache__" / f"numba-{digest}"


numba.config.CACHE_DIR = str(_cache_folder())


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` in nopython mode: strict floats, IEEE division, cached on disk.

    The GIL is kept: calls last microseconds, and each release would invite the thread that syncs the log.
    """
    decorate = numba.njit(cache=True, fastmath=False, error_model="numpy")
    return cast(Callable[P, R], decorate(function))


def jit_inline(function: Callable[P, R]) -> Callable[P, R]:
    """Compile like :func:`jit`, without a cache file of its own: for small functions called by other kernels.

    >>> jit_inline(lambda a, b: a / b)(1.0, 0.0)
    inf
    """
    decorate = numba.njit(fastmath=False, error_model="numpy")
    return cast(Callable[P, R], decorate(function))


def jit_part(function: Callable[P, R]) -> Callable[P, R]:
    """Compile into the kernel that calls it. It makes no array, so none is counted: that was a tenth of an event."""
    decorate = numba.njit(fastmath=False, error_model="numpy", forceinline=True, _nrt=False)
    return cast(Callable[P, R], decorate(function))


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(_context: Any, array: Any, index: Any) -> Any:
    """Ask for the memory of a C array's word of a flat index, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), cgutils.voidptr_t)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(ask, [pointer, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def table(_context: Any, array: Any, offset: Any, rows: Any, width: Any) -> Any:
    """Return ``array[offset : offset + rows·width]`` as [rows, width]; a constant width stays one."""
    found = types.Array(array.dtype, 2, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0]).data
        words, (_, at, height, across) = ir.IntType(64), arguments
        row = builder.mul(across, words(8))
        view = context.make_array(found)(context, builder)
        arrayobj.populate_array(view, builder.gep(data, [at]), [height, across], [row, words(8)], words(8), None)
        return view._getvalue()

    return found(array, types.intp, types.intp, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def rows_at(_context: Any, address: Any, rows: Any, width: Any) -> Any:
    """Return the int64 array [rows, width] at an address: the caller holds it, and says truly how large it is."""
    found = types.Array(types.int64, 2, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, (at, height, across) = ir.IntType(64), arguments
        row = builder.mul(across, words(8))
        view = context.make_array(found)(context, builder)
        data = builder.inttoptr(at, words.as_pointer())
        arrayobj.populate_array(view, data, [height, across], [row, words(8)], words(8), None)
        return view._getvalue()

    return found(types.int64, types.intp, types.intp), generate
