"""Frames read by compiled code (``frames.c``), where it has been compiled.

Contains: compiling it (``python -m tidemark.exchanges.columnar.native``, which ``make install`` calls), loading it,
lending it buffers that are large enough. Does not contain: any decision about what fits (``frames.c``), conversions
(``reader``).

It is plain C without Python in it, so one library serves every Python. Its name holds a hash of the source: a library
of other sources is never loaded. Without a library every frame goes to the record parser: the same rows, at about a
tenth of the speed.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tidemark.exchanges.columnar.program import INTEGER, WORD, Program, Slot

_SOURCE: Final = Path(__file__).with_name("frames.c")
_COMPILERS: Final = ("cc", "gcc", "clang")
_FLAGS: Final = ("-O3", "-std=c11", "-shared", "-fPIC")
#: Bytes that must be readable behind the frames.
PADDING: Final = bytes(64)
_DECIMAL_BYTES, _INTEGER_BYTES, _WORD_BYTES = 16, 8, 4
_ROWS_FULL, _LEVELS_FULL, _EXTRA_FULL = 1, 2, 3

Ints = npt.NDArray[np.int64]
Offsets = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


class _CSlot(ctypes.Structure):
    """``struct slot`` of frames.c."""

    _fields_ = (
        ("values", ctypes.c_void_p),
        ("valid", ctypes.c_void_p),
        ("words", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("mask", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("of_frame", ctypes.c_int64),
        ("last", ctypes.c_int64),
    )


class _CList(ctypes.Structure):
    """``struct list`` of frames.c."""

    _fields_ = (
        ("prices", ctypes.c_void_p),
        ("sizes", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("valid", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("capacity", ctypes.c_int64),
    )


class _COutput(ctypes.Structure):
    """``struct output`` of frames.c."""

    _fields_ = (
        ("slots", ctypes.c_void_p),
        ("slot_count", ctypes.c_int64),
        ("lists", ctypes.c_void_p),
        ("list_count", ctypes.c_int64),
        ("frames", ctypes.c_void_p),
        ("items", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("capacity", ctypes.c_int64),
        ("extra", ctypes.c_void_p),
        ("extra_offsets", ctypes.c_void_p),
        ("extra_valid", ctypes.c_void_p),
        ("extra_length", ctypes.c_int64),
        ("extra_capacity", ctypes.c_int64),
    )


@cache
def library() -> Any:
    """The compiled code, or None where it hasn't been compiled."""
    try:
        loaded = ctypes.CDLL(str(_path()))
    except OSError:
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    loaded.tidemark_read_frames.argtypes = [
        ctypes.c_char_p, pointer, pointer, number, pointer, pointer, pointer, pointer,
    ]  # fmt: skip
    loaded.tidemark_read_frames.restype = number
    loaded.tidemark_multiply.argtypes = [pointer, pointer, number, pointer, pointer, pointer, pointer]
    loaded.tidemark_multiply.restype = number
    return loaded


class Values:
    """The values of one slot: of each row, or of each frame."""

    def __init__(self, slot: Slot, count: int) -> None:
        width = {INTEGER: _INTEGER_BYTES, WORD: _WORD_BYTES}.get(slot.kind, _DECIMAL_BYTES)
        self.slot = slot
        self.values = np.zeros(count * width, np.uint8)
        self.valid = np.zeros(count, np.bool_)
        self._words = np.empty(0, np.int64)
        self._table = np.empty(0, np.int32)
        self.words: list[bytes] = []
        if slot.kind == WORD:
            self._words = np.empty(2 * max(1, count), np.int64)
            self._table = np.full(1 << max(4, (2 * count).bit_length()), -1, np.int32)

    def lend(self, to: _CSlot) -> None:
        """Give the compiled code its addresses."""
        to.values, to.valid, to.of_frame = self.values.ctypes.data, self.valid.ctypes.data, self.slot.of_frame
        to.last = -1
        to.words, to.table, to.mask = self._words.ctypes.data, self._table.ctypes.data, len(self._table) - 1

    def take_words(self, to: _CSlot, data: bytes) -> None:
        """The words found, as they are spelled."""
        bounds = self._words[: 2 * to.count].tolist()
        self.words = [data[begin:end] for begin, end in zip(bounds[::2], bounds[1::2], strict=True)]


class Side:
    """The levels of one side of all rows: prices and sizes one after the other, and where each row's begin."""

    def __init__(self, rows: int, levels: int) -> None:
        self.prices = np.empty(levels * _DECIMAL_BYTES, np.uint8)
        self.sizes = np.empty(levels * _DECIMAL_BYTES, np.uint8)
        self.offsets = np.zeros(rows + 1, np.int32)
        self.valid = np.zeros(rows, np.bool_)
        self.capacity = levels

    def lend(self, to: _CList) -> None:
        """Give the compiled code its addresses."""
        to.prices, to.sizes = self.prices.ctypes.data, self.sizes.ctypes.data
        to.offsets, to.valid, to.capacity = self.offsets.ctypes.data, self.valid.ctypes.data, self.capacity


class Buffers:
    """Everything that one call writes."""

    def __init__(self, program: Program, frames: int, rows: int, levels: int, extra: int) -> None:
        self.values = [Values(slot, frames if slot.of_frame else rows) for slot in program.slots]
        self.sides = [Side(rows, levels) for _ in program.sides]
        self.fits = np.zeros(frames, np.bool_)
        self.frames, self.items = np.empty(rows, np.int32), np.empty(rows, np.int32)
        self.extra = np.empty(extra, np.uint8)
        self.extra_offsets = np.zeros(rows + 1, np.int32)
        self.extra_valid = np.zeros(rows, np.bool_)
        self.rows = 0
        self._slots = (_CSlot * max(1, len(self.values)))()
        self._lists = (_CList * max(1, len(self.sides)))()
        for values, slot in zip(self.values, self._slots, strict=False):
            values.lend(slot)
        for side, listed in zip(self.sides, self._lists, strict=False):
            side.lend(listed)
        self._output = _COutput(
            ctypes.addressof(self._slots), len(self.values), ctypes.addressof(self._lists), len(self.sides),
            self.frames.ctypes.data, self.items.ctypes.data, 0, rows, self.extra.ctypes.data,
            self.extra_offsets.ctypes.data, self.extra_valid.ctypes.data, 0, extra,
        )  # fmt: skip

    def fill(self, program: Program, data: bytes, starts: Ints, ends: Ints) -> int:
        """Read the frames into the buffers; 0, or which buffer is too small."""
        full = library().tidemark_read_frames(
            data, starts.ctypes.data, ends.ctypes.data, len(starts), ctypes.addressof(program.nodes),
            ctypes.addressof(program.children), ctypes.addressof(self._output), self.fits.ctypes.data,
        )  # fmt: skip
        self.rows = int(self._output.rows)
        for values, slot in zip(self.values, self._slots, strict=False):
            values.take_words(slot, data)
        return int(full)


class Scanner:
    """Reads frames by a program. It remembers how large buffers had to be for the frames before."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._rows_a_frame = 1.0
        self._levels_a_byte = 1 / 32

    def read(self, data: bytes, starts: Ints, ends: Ints) -> Buffers:
        """The frames between ``starts`` and ``ends``; a newline and padding must follow them (see ``frames.c``)."""
        size = int((ends - starts).sum())
        extra = size + 2 * len(starts) + 64
        while True:
            rows = int(len(starts) * self._rows_a_frame) + 16
            levels = int(size * self._levels_a_byte) + 64
            buffers = Buffers(self.program, len(starts), rows, levels, extra)
            full = buffers.fill(self.program, data, starts, ends)
            if full == 0:
                return buffers
            self._rows_a_frame *= 2 if full == _ROWS_FULL else 1
            self._levels_a_byte *= 2 if full == _LEVELS_FULL else 1
            extra *= 2 if full == _EXTRA_FULL else 1


def multiply(values: Bytes, which: Offsets, factors: list[tuple[int, int]]) -> tuple[Bytes, Mask]:
    """Decimals (16 bytes each) times ``numerator / 10^places`` of the factor that ``which`` names; which ones fit.

    A numerator of 0 stands for no factor. Numerators are below 2^63, places below 20.
    """
    count = len(which)
    products, fits = np.empty(len(values), np.uint8), np.ones(count, np.bool_)
    numerators = np.asarray([numerator for numerator, _ in factors], np.int64)
    places = np.asarray([places for _, places in factors], np.int32)
    which = np.ascontiguousarray(which, np.int32)
    library().tidemark_multiply(
        values.ctypes.data, which.ctypes.data, count, numerators.ctypes.data, places.ctypes.data,
        products.ctypes.data, fits.ctypes.data,
    )  # fmt: skip
    return products, fits


def _path() -> Path:
    """Where the library for these sources and this kind of machine lies."""
    version = hashlib.sha256(_SOURCE.read_bytes() + " ".join(_FLAGS).encode()).hexdigest()[:12]
    return _SOURCE.with_name(f"frames-{platform.machine()}-{version}.so")


def compile_library() -> str:
    """Compile ``frames.c`` unless it has been; what was done, in a line for people."""
    path = _path()
    if path.exists():
        return f"frames are read by compiled code ({path.name})"
    slow = "frames are read one by one, at about a tenth of the speed"
    compiler = next((found for name in _COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        return f"no C compiler here (cc, gcc, clang): {slow}. Install one and run `make install` again"
    made = path.with_name(f"{path.name}.{os.getpid()}")
    command = [compiler, *_FLAGS, "-o", str(made), str(_SOURCE)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        made.unlink(missing_ok=True)
        return f"{compiler} can't compile {_SOURCE}, so {slow}:\n{done.stderr}"
    made.replace(path)
    for old in path.parent.glob(f"*-{platform.machine()}-*.so"):
        if old != path:
            old.unlink(missing_ok=True)
    return f"frames are read by compiled code ({path.name}, by {Path(compiler).name})"


if __name__ == "__main__":
    sys.stderr.write(f"{compile_library()}\n")
