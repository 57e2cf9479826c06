"""A recording of a real session.

Lives here: reading cryptofeed's capture format, and gzipped lines of nanoseconds and JSON; of which exchange it is.
Doesn't: telling its frames (``replay``), what a frame is about (each exchange's ``recorded``).

REST answers lie in the same file, or in files beside it whose names begin alike up to the first dot.
"""

from __future__ import annotations

import ast
import gzip
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tidemark.local.simulator.binance import recorded as binance
from tidemark.local.simulator.ledger import Sent
from tidemark.local.simulator.okx import recorded as okx
from tidemark.local.simulator.upbit import recorded as upbit

_RECEIVED = re.compile(r"(?P<at>\d+\.\d+): (?P<frame>.*)", re.DOTALL)
_STAMPED = re.compile(r"(?P<at>\d{19}) (?P<frame>\{.*)", re.DOTALL)
_OPENED = re.compile(r"(?P<url>wss?://\S+) <")
_ANSWERED = re.compile(r"(?P<url>https?://\S+) -> (?P<at>\d+\.\d+): (?P<body>.*)", re.DOTALL)
_ADDRESSES = (("/websocket/v1", "upbit"), ("upbit", "upbit"), ("/ws/v5", "okx"), ("okx", "okx"), ("binance", "binance"))
_DESCRIBERS: dict[str, Callable[[Any], tuple[str, str, str, Sent | None]]] = {
    "upbit": upbit.describe,
    "okx": okx.describe,
    "binance": binance.describe,
}


class RecordingError(Exception):
    """The file can't be played; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A recorded frame: when it was received (Unix s), its bytes, what it is about, the root it belongs to.

    ``trade`` is None as well for one whose price or size has more than eight decimals: the oracle can't hold it.
    """

    at: float
    payload: bytes
    kind: str
    code: str
    root: str
    trade: Sent | None


@dataclass(frozen=True, slots=True)
class Recording:
    """The frames of a file, in order, and REST answers by path and parameters."""

    exchange: str
    frames: list[Frame]
    answers: dict[tuple[str, frozenset[tuple[str, str]]], str]

    def codes(self) -> list[str]:
        """The market codes that have frames."""
        return sorted({frame.code for frame in self.frames if frame.code})

    def answer(self, path: str, **parameters: str) -> str | None:
        """The recorded answer to a question that has at least these parameters."""
        wanted = set(parameters.items())
        return next((body for (at, given), body in self.answers.items() if at == path and wanted <= given), None)


def read_recording(path: Path) -> Recording:
    """The recording in ``path``; RecordingError when it can't be read or holds no frame."""
    lines = _lines(path)
    received = list(_received(path, lines))
    if not received:
        raise RecordingError(f"no received frame in {path}: lines look like `1618678263.010785: b'{{...}}'`")
    exchange = _exchange(lines, [payload for _, payload in received])
    answers = dict(_answers(lines))
    for beside in sorted(path.parent.glob(path.name.partition(".")[0] + ".*")) if _OPENED.match(lines[0]) else ():
        if beside != path and beside.is_file():
            answers |= dict(_answers(_lines(beside)))
    frames = [_described(exchange, at, payload) for at, payload in received]
    if exchange == "binance":
        answers |= {("/fapi/v1/depth", frozenset({("symbol", _symbol(frames))})): f for f in _snapshots(received)}
    return Recording(exchange, frames, answers)


def _lines(path: Path) -> list[str]:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8") as file:
                return file.read().splitlines()
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordingError(f"can't read the recording {path}: {error}; give a file in cryptofeed's format") from error


def _received(path: Path, lines: list[str]) -> Iterator[tuple[float, bytes]]:
    for number, line in enumerate(lines, 1):
        stamped = _STAMPED.fullmatch(line)
        if stamped is not None:
            yield int(stamped["at"]) / 1e9, stamped["frame"].encode()
            continue
        match = _RECEIVED.fullmatch(line)
        if match is None:
            continue  # an opened connection, a sent message, a REST answer
        try:
            yield float(match["at"]), _payload(match["frame"])
        except (ValueError, SyntaxError) as error:
            raise RecordingError(f"line {number} of {path} is no frame: {error}") from error


def _payload(text: str) -> bytes:
    if text.startswith(("b'", 'b"')):
        payload = ast.literal_eval(text)
        if not isinstance(payload, bytes):
            raise ValueError("not a bytes literal")
        return payload
    return text.encode()


def _exchange(lines: list[str], payloads: list[bytes]) -> str:
    """Whose recording it is: by the addresses that were opened, else by the shape of its first frames."""
    urls = [match["url"] for line in lines if (match := _OPENED.match(line))]
    for part, exchange in _ADDRESSES:
        if any(part in url for url in urls):
            return exchange
    for payload in payloads[:100]:
        item = _json(payload)
        if isinstance(item, dict) and ("stream" in item or "e" in item):
            return "binance"
        if isinstance(item, dict) and "arg" in item:
            return "okx"
    return "upbit"


def _answers(lines: list[str]) -> Iterator[tuple[tuple[str, frozenset[tuple[str, str]]], str]]:
    for line in lines:
        match = _ANSWERED.fullmatch(line)
        if match is not None:
            url = urlsplit(match["url"])
            yield (url.path, frozenset(parse_qsl(url.query))), match["body"]


def _snapshots(received: list[tuple[float, bytes]]) -> Iterator[str]:
    """Books of REST that lie among the frames."""
    return (payload.decode() for _, payload in received if payload.startswith(b'{"lastUpdateId"'))


def _symbol(frames: list[Frame]) -> str:
    return next((frame.code for frame in frames if frame.code), "")


def _described(exchange: str, at: float, payload: bytes) -> Frame:
    """What the frame is about; a frame that isn't JSON is played all the same."""
    kind, code, root, trade = _DESCRIBERS[exchange](_json(payload))
    return Frame(at, payload, kind, code, root, trade)


def _json(payload: bytes) -> Any:
    try:
        return json.loads(payload, parse_float=Decimal)
    except ValueError:
        return None
