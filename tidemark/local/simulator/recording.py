"""A recording of a real session.

Contains: reading cryptofeed's capture format and gzipped lines of nanoseconds and frame; which exchange it is of; REST
answers recorded with it.
Does not contain: playing the frames (``replay``), what a frame is about (each exchange's ``recorded``).

Every line is a frame, recorded traffic of another kind (a connection that opened, a message sent, a REST answer), or
skipped: a line that cannot be read costs itself only. A frame's bytes are those of the recording, whatever they are.
REST answers are in the same file, or in files beside it whose names begin alike up to the first dot.
"""

from __future__ import annotations

import ast
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from tidemark.local.simulator import jsontext
from tidemark.local.simulator.binance import recorded as binance
from tidemark.local.simulator.ledger import Sent
from tidemark.local.simulator.okx import recorded as okx
from tidemark.local.simulator.upbit import recorded as upbit

_RECEIVED = re.compile(rb"(?P<at>\d{1,20}\.\d{1,20}):(?: (?P<frame>.*))?", re.DOTALL)
_STAMPED = re.compile(rb"(?P<at>\d{19})(?: (?P<frame>.*))?", re.DOTALL)
_TRAFFIC = re.compile(rb"(?:wss?|https?)://|configuration: ")
_OPENED = re.compile(rb"(?P<url>wss?://\S+) <")
_ANSWERED = re.compile(rb"(?P<url>https?://\S+) -> \d+\.\d+: (?P<body>.*)", re.DOTALL)
#: A code that a list of markets may hold: Binance has Chinese ones.
_CODE = re.compile(r"\w[\w.-]{0,59}")
_KIND = re.compile(r"[\w.@-]{1,40}")
_ADDRESSES = (
    (b"/websocket/v1", "upbit"),
    (b"upbit", "upbit"),
    (b"/ws/v5", "okx"),
    (b"okx", "okx"),
    (b"binance", "binance"),
)
_DESCRIBERS: dict[str, Callable[[Any], tuple[str, str, str, tuple[Sent, ...]]]] = {
    "upbit": upbit.describe,
    "okx": okx.describe,
    "binance": binance.describe,
}
_SHOWN = 40


class RecordingError(Exception):
    """The file cannot be played; the message names the file, the reason and what to give instead."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A recorded frame: when it was received (Unix s), its bytes, what it is about, the root it belongs to.

    ``trades`` leaves out those that the oracle cannot hold (more than eight decimals, numbers out of range): they are
    played all the same.
    """

    at: float
    payload: bytes
    kind: str
    code: str
    root: str
    trades: tuple[Sent, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A line that is not played: its number in the file, from 1, and the reason."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Recording:
    """The frames of a file, in order, REST answers by path and parameters, and the lines that are not played."""

    exchange: str
    frames: list[Frame]
    answers: dict[tuple[str, frozenset[tuple[str, str]]], str]
    skipped: tuple[Skipped, ...] = ()

    def codes(self) -> list[str]:
        """The market codes that have frames, as far as they could stand in a list of markets."""
        return sorted({frame.code for frame in self.frames if _CODE.fullmatch(frame.code)})

    def answer(self, path: str, **parameters: str) -> str | None:
        """The recorded answer to a question that has at least these parameters."""
        wanted = set(parameters.items())
        return next((body for (at, given), body in self.answers.items() if at == path and wanted <= given), None)


class _Received(NamedTuple):
    at: float
    payload: bytes


def read_recording(path: Path) -> Recording:
    """The recording in ``path``; RecordingError when it cannot be opened or holds no frame."""
    lines, skipped = _lines(path)
    received: list[_Received] = []
    for number, line in enumerate(lines, 1):
        try:
            frame = _received(line)
        except ValueError as error:
            skipped.append(Skipped(number, str(error)))
            continue
        if frame is not None:
            received.append(frame)
    if not received:
        first = f" (line {skipped[0].line}: {skipped[0].reason})" if skipped else ""
        raise RecordingError(f"no received frame in {path}{first}: lines look like `1618678263.010785: b'{{...}}'`")
    exchange = _exchange(lines, [one.payload for one in received])
    answers = dict(_answers(lines))
    for beside in _beside(path) if any(map(_OPENED.match, lines[:1])) else ():
        answers |= dict(_answers(beside))
    frames = [_described(exchange, one) for one in received]
    if exchange == "binance":
        answers |= {("/fapi/v1/depth", frozenset({("symbol", _symbol(frames))})): f for f in _snapshots(received)}
    return Recording(exchange, frames, answers, tuple(sorted(skipped, key=lambda one: one.line)))


def _lines(path: Path) -> tuple[list[bytes], list[Skipped]]:
    """The lines of a file, and what could not be read of it; only a line feed ends a line."""
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"can't read the recording {path}: {error}; give a file in cryptofeed's format") from error
    content, broken = _unpacked(packed) if path.suffix == ".gz" or packed[:2] == b"\x1f\x8b" else (packed, "")
    lines = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    return lines, [Skipped(len(lines), broken)] if broken else []


def _unpacked(packed: bytes) -> tuple[bytes, str]:
    """What a gzip file holds, as far as it goes, and why it goes no further."""
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        parts: list[bytes] = []
        try:
            while part := file.read(1 << 20):
                parts.append(part)
        except (OSError, EOFError, zlib.error) as error:
            return b"".join(parts), f"the gzip file ends or breaks here: {error}"
    return b"".join(parts), ""


def _received(line: bytes) -> _Received | None:
    """The frame that a line holds, None for other traffic; ValueError with the reason for any other line."""
    match = _RECEIVED.fullmatch(line) or _STAMPED.fullmatch(line)
    if match is None:
        if not line.strip() or _TRAFFIC.match(line):
            return None
        raise ValueError(f"no frame begins here: {line[:_SHOWN]!r}")
    at = float(match["at"]) / (1 if b"." in match["at"] else 1e9)
    text = match["frame"] or b""
    return _Received(at, _literal(text) if text.startswith((b"b'", b'b"')) else text)


def _literal(text: bytes) -> bytes:
    """The bytes that a Python literal stands for; ValueError when it stands for none."""
    try:
        payload = ast.literal_eval(text.decode("ascii"))
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"not a bytes literal ({error}): {text[:_SHOWN]!r}") from error
    if not isinstance(payload, bytes):
        raise ValueError(f"not a bytes literal: {text[:_SHOWN]!r}")
    return payload


def _exchange(lines: list[bytes], payloads: list[bytes]) -> str:
    """The exchange whose recording it is: by the addresses that were opened, else by the shape of most frames."""
    urls = [match["url"] for line in lines if (match := _OPENED.match(line))]
    for part, exchange in _ADDRESSES:
        if any(part in url for url in urls):
            return exchange
    shapes = Counter(shape for payload in payloads[:1000] if (shape := _shape(jsontext.parsed(payload))))
    return max(shapes, key=lambda exchange: shapes[exchange], default="upbit")


def _shape(item: Any) -> str:
    """The exchange that sends frames of this shape; empty when every exchange might."""
    item = item[0] if isinstance(item, list) and item else item
    if not isinstance(item, dict):
        return ""
    if "stream" in item or "e" in item:
        return "binance"
    if "arg" in item:
        return "okx"
    return "upbit" if {"ty", "type"} & item.keys() else ""


def _beside(path: Path) -> Iterator[list[bytes]]:
    """The lines of the files beside a recording; one that cannot be read has none."""
    name = path.name.partition(".")[0]
    for beside in sorted(path.parent.iterdir()) if name else ():
        if beside != path and beside.name.startswith(f"{name}.") and beside.is_file():
            try:
                lines, _ = _lines(beside)
            except RecordingError:
                continue
            yield lines


def _answers(lines: Iterable[bytes]) -> Iterator[tuple[tuple[str, frozenset[tuple[str, str]]], str]]:
    """REST answers; a body that is not JSON is no answer."""
    for line in lines:
        match = _ANSWERED.fullmatch(line)
        if match is None or jsontext.parsed(match["body"]) is None:
            continue
        try:
            url = urlsplit(match["url"].decode())
            yield (url.path, frozenset(parse_qsl(url.query))), match["body"].decode()
        except ValueError:  # an address or a body that cannot be read
            continue


def _snapshots(received: list[_Received]) -> Iterator[str]:
    """Books of REST among the frames."""
    for one in received:
        if one.payload.startswith(b'{"lastUpdateId"') and isinstance(jsontext.parsed(one.payload), dict):
            yield one.payload.decode()


def _symbol(frames: list[Frame]) -> str:
    return next((frame.code for frame in frames if frame.code), "")


def _described(exchange: str, one: _Received) -> Frame:
    """A frame with what it is about; one that is not JSON is about nothing."""
    kind, code, root, trades = _DESCRIBERS[exchange](jsontext.parsed(one.payload))
    kind = kind if _KIND.fullmatch(kind) else "unknown"
    return Frame(one.at, one.payload, kind, code, root, trades)
