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


class Scanner:
    """Reads frames by a program. It remembers how large buffers had to be for the frames before."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._rows_a_frame = 1.0
        self._levels_a_byte = 1 / 32
        self._extra_a_byte = 1.0
        self._words = [number for number, slot in enumerate(program.slots) if slot.kind == WORD]
        #: Memory of words, their tables and unknown fields, of which nothing is kept.
        self._scratch = np.zeros(0, np.uint8)

    def read(self, data: bytes, starts: Ints, ends: Ints) -> Scanned:
        """The frames between ``starts`` and ``ends``; a newline and padding must follow them (see ``frames.c``)."""
        size = int((ends - starts).sum())
        while True:
            rows = int(len(starts) * self._rows_a_frame) + 16
            levels = int(size * self._levels_a_byte) + 64 if self.program.sides else 0
            extra = int(size * self._extra_a_byte) + 2 * len(starts) + 64
            full, scanned = self._attempt(data, starts, ends, rows, levels, extra)
            if scanned is not None:
                return scanned
            self._rows_a_frame *= 2 if full == _ROWS_FULL else 1
            self._levels_a_byte *= 2 if full == _LEVELS_FULL else 1
            self._extra_a_byte *= 2 if full == _EXTRA_FULL else 1

    def _attempt(
        self, data: bytes, starts: Ints, ends: Ints, rows: int, levels: int, extra: int
    ) -> tuple[int, Scanned | None]:
        program, frames = self.program, len(starts)
        counts = [frames if slot.of_frame else rows for slot in program.slots]
        widths = [_WIDTHS.get(slot.kind, _DECIMAL_BYTES) for slot in program.slots]
        sizes = [_aligned(n * width) + _aligned(n) for n, width in zip(counts, widths, strict=True)]
        sizes += [_aligned(4 * rows + 4) + _aligned(rows)] * (len(program.sides) + 1)
        arena = _Arena(sum(sizes) + 2 * _aligned(4 * rows) + _aligned(frames))
        fits, fits_at = arena.take(frames)
        of_frames, frames_at = arena.take(4 * rows)
        items, items_at = arena.take(4 * rows)
        offsets, offsets_at = arena.take(4 * rows + 4)
        extra_valid, extra_valid_at = arena.take(rows)
        slots, values = (_CSlot * len(program.slots))(), []
        for slot, to, count, width in zip(program.slots, slots, counts, widths, strict=True):
            numbers, to.values = arena.take(count * width)
            valid, to.valid = arena.take(count)
            to.of_frame, to.last = slot.of_frame, -1
            values.append((slot, numbers, valid))
        lists, sides = (_CList * max(1, len(program.sides)))(), []
        for listed in lists[: len(program.sides)]:
            prices, sizes_ = np.empty(levels * _DECIMAL_BYTES, np.uint8), np.empty(levels * _DECIMAL_BYTES, np.uint8)
            begins, listed.offsets = arena.take(4 * rows + 4)
            valid, listed.valid = arena.take(rows)
            listed.prices, listed.sizes, listed.capacity = _address(prices), _address(sizes_), levels
            sides.append((prices, sizes_, begins, valid))
        extra_at, words = self._lend_scratch(slots, counts, extra)
        output = _COutput(
            ctypes.addressof(slots), len(slots), ctypes.addressof(lists), len(sides), frames_at, items_at, 0, rows,
            extra_at, offsets_at, extra_valid_at, 0, extra,
        )  # fmt: skip
        full = int(
            library().tidemark_read_frames(
                data, _address(starts), _address(ends), frames, ctypes.addressof(program.nodes),
                ctypes.addressof(program.children), ctypes.addressof(output), fits_at,
            )
        )  # fmt: skip
        if full:
            return full, None
        found = dict(zip(self._words, words, strict=True))
        return 0, Scanned(
            int(output.rows),
            fits.view(np.bool_),
            of_frames.view(np.int32),
            items.view(np.int32),
            [
                Values(slot, numbers, valid.view(np.bool_), _words(found.get(n), slots[n].count, data))
                for n, (slot, numbers, valid) in enumerate(values)
            ],
            [Side(p, s, begins.view(np.int32), valid.view(np.bool_)) for p, s, begins, valid in sides],
            self._scratch[: output.extra_length].tobytes(),
            offsets.view(np.int32),
            extra_valid.view(np.bool_),
        )

    def _lend_scratch(self, slots: Any, counts: list[int], extra: int) -> tuple[int, list[Ints]]:
        """Scratch memory for unknown fields, and for the words of each slot and their table."""
        tables = [1 << max(4, (2 * counts[number]).bit_length()) for number in self._words]
        bounds = [2 * max(1, counts[number]) for number in self._words]
        size = _aligned(extra) + 4 * sum(tables) + 8 * sum(bounds)
        if len(self._scratch) < size:
            self._scratch = np.empty(size, np.uint8)
        base, at, words = _address(self._scratch), _aligned(extra), []
        self._scratch[at : at + 4 * sum(tables)] = 0
        for number, table in zip(self._words, tables, strict=True):
            slots[number].table, slots[number].mask = base + at, table - 1
            at += 4 * table
        for number, bound in zip(self._words, bounds, strict=True):
            slots[number].words = base + at
            words.append(self._scratch[at : at + 8 * bound].view(np.int64))
            at += 8 * bound
        return base, words


def _words(bounds: Ints | None, count: int, data: bytes) -> list[bytes]:
    if bounds is None:
        return []
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
