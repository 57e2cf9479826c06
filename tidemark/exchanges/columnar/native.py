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
from dataclasses import dataclass
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
_DECIMAL_BYTES: Final = 16
_WIDTHS: Final = {INTEGER: 8, WORD: 4}
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
        ("capacity", ctypes.c_int64),
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


@dataclass(frozen=True, slots=True)
class Values:
    """The values of one slot, of each row or of each frame; ``words`` are the different words as they are spelled."""

    slot: Slot
    values: Bytes
    valid: Mask
    words: list[bytes]


@dataclass(frozen=True, slots=True)
class Side:
    """The levels of one side of all rows: prices and sizes one after the other, and where each row's begin."""

    prices: Bytes
    sizes: Bytes
    offsets: Offsets
    valid: Mask


@dataclass(frozen=True, slots=True)
class Scanned:
    """What frames were read into. ``fits`` tells of each frame whether it was read, ``frames`` of each row its frame.

    ``extra`` is the text of each row's unknown fields by ``extra_offsets``, where ``extra_valid``.
    """

    rows: int
    fits: Mask
    frames: Offsets
    items: Offsets
    values: list[Values]
    sides: list[Side]
    extra: bytes
    extra_offsets: Offsets
    extra_valid: Mask


class _Arena:
    """Memory handed out piece by piece: one allocation for many arrays."""

    def __init__(self, size: int) -> None:
        self.memory = np.zeros(size, np.uint8)
        self.base = self.memory.__array_interface__["data"][0]
        self._used = 0

    def take(self, size: int) -> tuple[Bytes, int]:
        """A piece of so many zeros, and its address."""
        at, self._used = self._used, self._used + _aligned(size)
        return self.memory[at : at + size], self.base + at


class _Call:
    """One call of the compiled code: everything that it writes, lent by address."""

    def __init__(self, program: Program, frames: int, rows: int, levels: int) -> None:
        self._rows, self._levels = rows, levels
        self.counts = [frames if slot.of_frame else rows for slot in program.slots]
        self._arena = _Arena(_size(program, self.counts, frames, rows))
        self._fits, self._fits_at = self._arena.take(frames)
        self._frames, frames_at = self._arena.take(4 * rows)
        self._items, items_at = self._arena.take(4 * rows)
        self._extra_offsets, extra_offsets_at = self._arena.take(4 * rows + 4)
        self._extra_valid, extra_valid_at = self._arena.take(rows)
        self.slots = (_CSlot * len(program.slots))()
        self._values = [self._slot(*one) for one in zip(self.slots, program.slots, self.counts, strict=True)]
        self._lists = (_CList * max(1, len(program.sides)))()
        self._sides = [self._side(self._lists[number]) for number in range(len(program.sides))]
        self.output = _COutput(
            slots=ctypes.addressof(self.slots), slot_count=len(self.slots),
            lists=ctypes.addressof(self._lists), list_count=len(self._sides),
            frames=frames_at, items=items_at, capacity=rows,
            extra_offsets=extra_offsets_at, extra_valid=extra_valid_at,
        )  # fmt: skip

    def run(self, program: Program, data: bytes, starts: Ints, ends: Ints) -> int:
        """Read the frames; 0, or which buffer is too small."""
        return int(
            library().tidemark_read_frames(
                data, _address(starts), _address(ends), len(starts), ctypes.addressof(program.nodes),
                ctypes.addressof(program.children), ctypes.addressof(self.output), self._fits_at,
            )
        )  # fmt: skip

    def scanned(self, words: dict[int, list[bytes]], extra: bytes) -> Scanned:
        """What the frames were read into."""
        return Scanned(
            int(self.output.rows),
            self._fits.view(np.bool_),
            self._frames.view(np.int32),
            self._items.view(np.int32),
            [Values(*one, words.get(number, [])) for number, one in enumerate(self._values)],
            self._sides,
            extra,
            self._extra_offsets.view(np.int32),
            self._extra_valid.view(np.bool_),
        )

    def _slot(self, to: _CSlot, slot: Slot, count: int) -> tuple[Slot, Bytes, Mask]:
        values, to.values = self._arena.take(count * _width(slot))
        valid, to.valid = self._arena.take(count)
        to.of_frame, to.last = slot.of_frame, -1
        return slot, values, valid.view(np.bool_)

    def _side(self, to: _CList) -> Side:
        prices, sizes = (np.empty(self._levels * _DECIMAL_BYTES, np.uint8) for _ in range(2))
        offsets, to.offsets = self._arena.take(4 * self._rows + 4)
        valid, to.valid = self._arena.take(self._rows)
        to.prices, to.sizes, to.capacity = _address(prices), _address(sizes), self._levels
        return Side(prices, sizes, offsets.view(np.int32), valid.view(np.bool_))


class Scanner:
    """Reads frames by a program. It remembers how large buffers had to be for the frames before."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._rows_a_frame = 1.0
        self._levels_a_byte = 1 / 32
        self._extra_a_byte = 1.0
        self._words = [number for number, slot in enumerate(program.slots) if slot.kind == WORD]
        #: Memory of words, their tables and unknown fields, of which nothing is kept.
        self._scratch = np.empty(0, np.uint8)

    def read(self, data: bytes, starts: Ints, ends: Ints) -> Scanned:
        """The frames between ``starts`` and ``ends``; a newline and padding must follow them (see ``frames.c``)."""
        size = int((ends - starts).sum())
        while True:
            rows = int(len(starts) * self._rows_a_frame) + 16
            levels = int(size * self._levels_a_byte) + 64 if self.program.sides else 0
            extra = int(size * self._extra_a_byte) + 2 * len(starts) + 64
            call = _Call(self.program, len(starts), rows, levels)
            bounds = self._lend_scratch(call, extra)
            full = call.run(self.program, data, starts, ends)
            if not full:
                words = {n: _spelled(found, call.slots[n].count, data) for n, found in bounds.items()}
                return call.scanned(words, self._scratch[: call.output.extra_length].tobytes())
            self._rows_a_frame *= 2 if full == _ROWS_FULL else 1
            self._levels_a_byte *= 2 if full == _LEVELS_FULL else 1
            self._extra_a_byte *= 2 if full == _EXTRA_FULL else 1

    def _lend_scratch(self, call: _Call, extra: int) -> dict[int, Ints]:
        """Memory for unknown fields, and for each slot of words where they begin and end, and their table."""
        counts = {number: call.counts[number] for number in self._words}
        tables = {number: 1 << max(4, (2 * count).bit_length()) for number, count in counts.items()}
        size = _aligned(extra) + 4 * sum(tables.values()) + 16 * sum(counts.values())
        if len(self._scratch) < size:
            self._scratch = np.empty(size, np.uint8)
        base, at = _address(self._scratch), _aligned(extra)
        call.output.extra, call.output.extra_capacity = base, extra
        self._scratch[at : at + 4 * sum(tables.values())] = 0
        for number, table in tables.items():
            call.slots[number].table, call.slots[number].mask = base + at, table - 1
            at += 4 * table
        bounds = {}
        for number, count in counts.items():
            call.slots[number].words, call.slots[number].capacity = base + at, count
            bounds[number] = self._scratch[at : at + 16 * count].view(np.int64)
            at += 16 * count
        return bounds


def _width(slot: Slot) -> int:
    return _WIDTHS.get(slot.kind, _DECIMAL_BYTES)


def _size(program: Program, counts: list[int], frames: int, rows: int) -> int:
    """Bytes of all arrays of a call but levels, words and unknown fields."""
    slots = sum(_aligned(n * _width(slot)) + _aligned(n) for n, slot in zip(counts, program.slots, strict=True))
    begins = _aligned(4 * rows + 4) + _aligned(rows)
    return slots + begins * (len(program.sides) + 1) + 2 * _aligned(4 * rows) + _aligned(frames)


def _spelled(bounds: Ints, count: int, data: bytes) -> list[bytes]:
    flat = bounds[: 2 * count].tolist()
    return [data[begin:end] for begin, end in zip(flat[::2], flat[1::2], strict=True)]


def _aligned(size: int) -> int:
    """So many bytes or a few more, so that what follows may hold decimals."""
    return (size + 63) & ~63


def _address(array: npt.NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


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
        _address(values), _address(which), count, _address(numerators), _address(places), _address(products),
        _address(fits),
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
