"""How frames are spelled: every byte of one but its values, learnt from an example.

Lives here: taking a frame apart into values and the literal text around them. Doesn't: reading others by it
(``lines``), meaning (``shape``).

Frames of one kind come from one serializer: the same fields in the same order. So an example tells what every byte
between two values must be, and a frame that agrees in all of them is the same JSON with other values.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import msgspec

from tidemark.exchanges.columnar.shape import Path

_TOKEN: Final = re.compile(rb'\s*(?:("[^"\\\x00-\x1f]*")|(-?[0-9][0-9.eE+-]*|true|false|null)|([\[\]{}:,]))')
_DEEPEST: Final = 8
_MOST_VALUES: Final = 200
LONGEST_LITERAL: Final = 256


class UnlearnableError(Exception):
    """The example is spelled in a way that isn't read by the column."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a value stands. Numbers may stand in quotes too; a value without quotes may be null."""

    path: Path
    quoted: bool


@dataclass(frozen=True)
class Spelling:
    """``literals[0] value literals[1] value … literals[-1]``."""

    slots: tuple[Slot, ...]
    literals: tuple[bytes, ...]

    @cached_property
    def commas(self) -> int:
        """Commas of a line: all of them are in its literals."""
        return sum(literal.count(b",") for literal in self.literals)

    @cached_property
    def quotes(self) -> int:
        """Quotation marks of a line: all of them are in its literals."""
        return sum(literal.count(b'"') for literal in self.literals)


@dataclass(frozen=True, slots=True)
class Cut:
    """An array that is read by itself: what stands before its content, and what its items are (``{`` or ``[``)."""

    path: Path
    marker: bytes


@dataclass(frozen=True, slots=True)
class Outline:
    """The spelling of a frame whose ``cuts`` have been emptied."""

    spelling: Spelling
    cuts: tuple[Cut, ...]


def learn(frame: bytes, arrays: Collection[Path] = (), *, unwrap: bool = False) -> Outline:
    """The outline of a frame, which must be JSON; the content of ``arrays`` is no part of it.

    With ``unwrap`` an array of one frame is that frame.

    Raises:
        UnlearnableError: it holds an empty container, a value twice, an escaped text, or far too much.
    """
    try:
        msgspec.json.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnlearnableError(str(error)) from None
    scan = _Scan(frame, frozenset(arrays), unwrap)
    scan.value(0, (), b"")
    if not scan.slots or len({slot.path for slot in scan.slots}) < len(scan.slots):
        raise UnlearnableError("no value, or one twice")
    literals = (*scan.literals, scan.rest())
    if not literals[0] or not literals[-1]:
        raise UnlearnableError("neither an object nor an array")
    if any(b"," not in literal for literal in literals[1:-1]):
        raise UnlearnableError("two values without a comma between them")
    if max(map(len, literals)) > LONGEST_LITERAL:
        raise UnlearnableError("too much between two values")
    return Outline(Spelling(tuple(scan.slots), literals), tuple(scan.cuts))


class _Scan:
    """One walk over an example."""

    def __init__(self, frame: bytes, arrays: frozenset[Path], unwrap: bool) -> None:
        self._frame = frame
        self._unwrap = unwrap
        self._arrays = arrays
        self._from = 0  # the literal that is being read began here
        self._before = b""  # and this stands before it: the text before an array that was cut
        self.slots: list[Slot] = []
        self.literals: list[bytes] = []
        self.cuts: list[Cut] = []

    def rest(self) -> bytes:
        """The literal behind the last value."""
        return self._before + self._frame[self._from :]

    def value(self, at: int, path: Path, key: bytes) -> int:
        """Read the value at ``at``; where it ends. ``key`` is the text from its name on."""
        text, end = self._token(at)
        if text in (b"{", b"["):
            if path in self._arrays:
                return self._cut(end, path, key + self._frame[at:end])
            return self._container(text, end, path)
        if text[:1] in b"]}:,":
            raise UnlearnableError("an empty container")
        quoted = text.startswith(b'"')
        begin, stop = end - len(text) + quoted, end - quoted
        self.slots.append(Slot(path, quoted))
        self.literals.append(self._before + self._frame[self._from : begin])
        self._before, self._from = b"", stop
        return end

    def _container(self, mark: bytes, at: int, path: Path) -> int:
        if len(path) > _DEEPEST or len(self.slots) > _MOST_VALUES:
            raise UnlearnableError("too deep, or too much")
        closing, number = b",", 0
        unwrapped, self._unwrap = self._unwrap and mark == b"[", False
        while closing == b",":
            begin, place, key = self._name(at) if mark == b"{" else (at, (number,), b"")
            if unwrapped:
                place = ()
                if number:
                    raise UnlearnableError("several frames in one")
            at = self.value(begin, path + place, key)
            closing, at = self._token(at)
            number += 1
        return at

    def _name(self, at: int) -> tuple[int, Path, bytes]:
        """Where a member's value begins, its name, and the text from the name up to there."""
        name, end = self._token(at)
        if not name.startswith(b'"'):
            raise UnlearnableError("an empty container")
        _, begin = self._token(end)
        return begin, (name[1:-1].decode(),), self._frame[end - len(name) : begin]

    def _cut(self, at: int, path: Path, marker: bytes) -> int:
        end = end_of_array(self._frame, at)
        self.cuts.append(Cut(path, marker))
        self._before += self._frame[self._from : at]
        self._from = end
        return end + 1

    def _token(self, at: int) -> tuple[bytes, int]:
        match = _TOKEN.match(self._frame, at)
        if match is None:
            raise UnlearnableError("an escaped text, or a spelling not known")
        return match[match.lastindex or 0], match.end()


def end_of_array(frame: bytes, at: int) -> int:
    """Where the array of flat items, whose content begins at ``at``, is closed; -1 where it isn't."""
    if frame[at : at + 1] == b"]":
        return at
    if frame[at : at + 1] == b"[":
        end = frame.find(b"]]", at)
        return end + 1 if end >= 0 else -1
    return frame.find(b"]", at)
