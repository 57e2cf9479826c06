"""Lines read by compiled code (``lines.c``), where it has been compiled: the same columns, several times as fast.

Lives here: compiling it (``python -m tidemark.exchanges.columnar.native``, which ``make install`` calls), loading it,
and handing it addresses. Doesn't: any decision about what fits (``lines.c``), the way without it (``lines``).

It is plain C without Python in it, so one library serves every Python. Its name holds a hash of the source: a library
of other sources is never loaded, and where there is none everything works, slower.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidemark.exchanges.columnar.spelling import Spelling

_SOURCE: Final = Path(__file__).with_name("lines.c")
_COMPILERS: Final = ("cc", "gcc", "clang")
_FLAGS: Final = ("-O3", "-std=c11", "-shared", "-fPIC")
_SKIP, _DECIMAL, _INTEGER, _TEXT = range(4)
_WIDTHS: Final = {_DECIMAL: 16, _INTEGER: 8, _TEXT: 4}

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class _Slot(ctypes.Structure):
    """``struct slot`` of lines.c."""

    _fields_ = (
        ("kind", ctypes.c_int32),
        ("quoted", ctypes.c_int32),
        ("literal", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("values", ctypes.c_void_p),
        ("valid", ctypes.c_void_p),
        ("words", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("mask", ctypes.c_int64),
        ("count", ctypes.c_int64),
    )


@cache
def library() -> Any:
    """The compiled code, or None where it hasn't been compiled."""
    try:
        loaded = ctypes.CDLL(str(_path()))
    except OSError:
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    loaded.tidemark_read_lines.argtypes = [
        ctypes.c_char_p, pointer, pointer, number, ctypes.c_char_p, pointer, number, number, number, pointer,
    ]  # fmt: skip
    loaded.tidemark_read_lines.restype = number
    loaded.tidemark_odd_bytes.argtypes = [ctypes.c_char_p, number]
    loaded.tidemark_odd_bytes.restype = number
    return loaded


def odd_bytes(data: bytes) -> int:
    """How many bytes are control characters (newlines too) or backslashes."""
    return int(library().tidemark_odd_bytes(data, len(data)))


def read(
    data: bytes, starts: Ints, ends: Ints, spelling: Spelling, types: Mapping[int, Any]
) -> tuple[Mask, dict[int, Any]]:
    """Which lines are spelled so, and the values of some slots as Arrow arrays, which are whole only if all lines are.

    ``types`` are decimal128(38, 18), int64 or string by slot; texts come as dictionaries, nulls as ``lines.read`` has
    them.
    """
    count = len(starts)
    columns = {number: _Column(kind, count) for number, kind in types.items()}
    slots = (_Slot * len(spelling.slots))()
    at = 0
    for number, (slot, literal) in enumerate(zip(spelling.slots, spelling.literals, strict=False)):
        one = slots[number]
        one.quoted, one.literal, one.length = slot.quoted, at, len(literal)
        at += len(literal)
        if number in columns:
            columns[number].lend(one)
    fits = np.empty(count, np.bool_)
    starts, ends = np.ascontiguousarray(starts), np.ascontiguousarray(ends)
    misfits = library().tidemark_read_lines(
        data, starts.ctypes.data, ends.ctypes.data, count, b"".join(spelling.literals), ctypes.addressof(slots),
        len(slots), at, len(spelling.literals[-1]), fits.ctypes.data,
    )  # fmt: skip
    if misfits:
        return fits, {}
    return fits, {number: column.array(slots[number].count, data) for number, column in columns.items()}


class _Column:
    """The memory of one slot's values, and the Arrow array that it becomes."""

    def __init__(self, kind: Any, count: int) -> None:
        self._type = kind
        self._kind = _DECIMAL if pa.types.is_decimal(kind) else _INTEGER if pa.types.is_integer(kind) else _TEXT
        self._count = count
        self._width = _WIDTHS[self._kind]
        self._values = np.empty(count * self._width, np.uint8)
        self._helpers: list[npt.NDArray[Any]] = []

    def lend(self, slot: _Slot) -> None:
        """Give the compiled code its addresses."""
        slot.kind, slot.width, slot.values = self._kind, self._width, self._values.ctypes.data
        if self._kind != _TEXT:
            valid = np.ones(self._count, np.bool_)
            self._helpers = [valid]
            slot.valid = valid.ctypes.data
            return
        size = 1 << max(4, (2 * self._count).bit_length())
        words, table = np.empty(2 * self._count, np.int64), np.full(size, -1, np.int32)
        self._helpers = [words, table]
        slot.words, slot.table, slot.mask = words.ctypes.data, table.ctypes.data, size - 1

    def array(self, counted: int, data: bytes) -> Any:
        """The values; ``counted`` are the nulls among them, or the different words."""
        if self._kind == _TEXT:
            bounds = self._helpers[0][: 2 * counted].tolist()
            words = [data[begin:end].decode() for begin, end in zip(bounds[::2], bounds[1::2], strict=True)]
            indices = pa.Array.from_buffers(pa.int32(), self._count, [None, pa.py_buffer(self._values)])
            return pa.DictionaryArray.from_arrays(indices, pa.array(words, pa.string()))
        validity = pa.py_buffer(np.packbits(self._helpers[0], bitorder="little")) if counted else None
        return pa.Array.from_buffers(self._type, self._count, [validity, pa.py_buffer(self._values)], counted)


def _path() -> Path:
    """Where the library for these sources and this kind of machine lies."""
    version = hashlib.sha256(_SOURCE.read_bytes() + " ".join(_FLAGS).encode()).hexdigest()[:12]
    return _SOURCE.with_name(f"lines-{platform.machine()}-{version}.so")


def compile_library() -> str:
    """Compile ``lines.c`` unless it has been; what was done, in a line for people."""
    path = _path()
    if path.exists():
        return f"frames are read by compiled code ({path.name})"
    compiler = next((found for name in _COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        return "no C compiler here (cc, gcc, clang): frames are read by NumPy, at about half the speed"
    made = path.with_name(f"{path.name}.{os.getpid()}")
    command = [compiler, *_FLAGS, "-o", str(made), str(_SOURCE)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        made.unlink(missing_ok=True)
        return (
            f"{compiler} can't compile {_SOURCE}, so frames are read by NumPy, at about half the speed:\n{done.stderr}"
        )
    made.replace(path)
    for old in path.parent.glob(f"lines-{platform.machine()}-*.so"):
        if old != path:
            old.unlink(missing_ok=True)
    return f"frames are read by compiled code ({path.name}, by {Path(compiler).name})"


if __name__ == "__main__":
    sys.stderr.write(f"{compile_library()}\n")
