"""OKX's REST while a recording is played.

Contains: the recording's instruments; everything else is empty, since a recording has no history.
Does not contain: the frames (``recorded``).
"""

from __future__ import annotations

from aiohttp import web

from tidemark.local.simulator.okx.instruments import SWAPS
from tidemark.local.simulator.okx.listing import row, text
from tidemark.local.simulator.okx.rest import OkxLimits, get
from tidemark.local.simulator.recording import Recording

_EMPTY = ("candles", "history-candles", "trades", "history-trades", "ticker", "tickers", "books")


class ReplayedOkxRest:
    """The REST endpoints of a recording."""

    def __init__(self, recording: Recording, limits: OkxLimits) -> None:
        self._recording = recording
        self._limits = limits

    def routes(self) -> list[web.RouteDef]:
        """All paths."""
        return [
            get("/api/v5/public/time", self._time, self._limits),
            get("/api/v5/public/instruments", self._instruments, self._limits),
            *(get(f"/api/v5/market/{name}", _nothing, self._limits) for name in _EMPTY),
        ]

    async def _time(self, request: web.Request) -> str:
        return f'{{"ts":"{int(self._recording.frames[-1].at * 1000)}"}}'

    async def _instruments(self, request: web.Request) -> str:
        asked = request.query.get("instType", "")
        return ",".join(_row(code) for code in self._recording.codes() if _kind(code) == asked)


async def _nothing(request: web.Request) -> str:
    return ""


def _kind(code: str) -> str:
    """The type of an instrument, by its name; a name of one part is of no type."""
    parts = code.split("-")
    if len(parts) > 1 and parts[-1] == "SWAP":
        return "SWAP"
    return {1: "", 2: "SPOT", 3: "FUTURES"}.get(len(parts), "OPTION")


def _row(code: str) -> str:
    """An instrument by its name; what a contract is isn't in a recording, so only for those that are simulated too."""
    if code in SWAPS:
        return text([row(SWAPS[code])])
    base, quote = code.split("-")[:2]
    named = {"baseCcy": base, "quoteCcy": quote} if _kind(code) == "SPOT" else {"baseCcy": "", "uly": f"{base}-{quote}"}
    return text([{"instId": code, "instType": _kind(code), **named, "ctVal": "", "ctValCcy": "", "state": "live"}])
