"""The rows of OKX's instrument list.

Contains: every field of a row, the rows of what trades, and the odd rows: placeholders and instruments that do not
trade.
Does not contain: which markets there are (``instruments``), who asks (``rest``).

Where nothing is documented: a placeholder of an id and a type has its state as a third field; ``instIdCode`` is a
checksum of the id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from datetime import datetime
from zlib import crc32

from tidemark.local.simulator.market.instruments import Market
from tidemark.local.simulator.oddities import Oddity
from tidemark.local.simulator.okx.instruments import contract, kind_of
from tidemark.local.simulator.swap.spelling import plain

KINDS = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION", "EVENTS")
_LISTED_MS = 1_573_557_408_000
_CRYPTO, _SHARE = "1", "3"
_SHARES = ("TSLA",)
#: Every field, and what it is where nothing else is known.
_FIELDS: dict[str, object] = {
    "alias": "", "auctionEndTime": "", "baseCcy": "", "category": "1", "contTdSwTime": "", "ctMult": "", "ctType": "",
    "ctVal": "", "ctValCcy": "", "expTime": "", "futureSettlement": False, "groupId": "", "instCategory": "",
    "instFamily": "", "instId": "", "instIdCode": None, "instType": "", "lever": "", "listTime": "", "lotSz": "",
    "maxIcebergSz": "", "maxLmtAmt": "", "maxLmtSz": "", "maxMktAmt": "", "maxMktSz": "", "maxPlatOILmt": "",
    "maxStopSz": "", "maxTriggerSz": "", "maxTwapSz": "", "minSz": "", "openType": "", "optType": "", "posLmtAmt": "",
    "posLmtPct": "", "preMktSwTime": "", "quoteCcy": "", "ruleType": "normal", "settleCcy": "", "state": "live",
    "stk": "", "tickSz": "", "tradeQuoteCcyList": [], "uly": "", "upcChg": [],
}  # fmt: skip
_LARGEST = {
    "maxIcebergSz": "100000000.0000000000000000", "maxLmtAmt": "20000000", "maxLmtSz": "100000000", "maxMktSz": "12000",
    "maxStopSz": "12000", "maxTriggerSz": "100000000.0000000000000000", "maxTwapSz": "100000000.0000000000000000",
    "posLmtAmt": "250000000", "posLmtPct": "30", "maxPlatOILmt": "20000000000", "lever": "100", "groupId": "4",
}  # fmt: skip


def rows(kind: str, markets: Mapping[str, Market], shown: Set[Oddity]) -> list[dict[str, object]]:
    """The list of one type: what trades, then what does not."""
    traded = [row(market) for market in markets.values() if kind_of(market.code) == kind]
    return traded + [one for one in _odd(shown) if one["instType"] == kind]


def row(market: Market) -> dict[str, object]:
    """What OKX reports of a contract that the simulator trades, or that is in its call auction."""
    family, _, expiry = market.code.removesuffix("-SWAP").partition(f"-{market.quote}")
    suffix, _, date = expiry.partition("-")
    family = f"{family}-{market.quote}{suffix}"
    rule = "xperp" if suffix.endswith("_XPERP") else "normal"
    found = {
        "ctMult": "1", "ctType": "linear", "ctVal": plain(contract(market)), "ctValCcy": market.coin.symbol,
        "expTime": _expiry_ms(date), "instCategory": _SHARE if market.coin.symbol in _SHARES else _CRYPTO,
        "instFamily": family, "instId": market.code, "instIdCode": _id_code(market.code),
        "instType": kind_of(market.code), "listTime": str(_LISTED_MS), "lotSz": "0.01", "minSz": "0.01",
        "ruleType": rule, "settleCcy": market.quote, "tickSz": plain(market.tick),
        "uly": f"{market.coin.symbol}-{market.quote}",
    }  # fmt: skip
    auction = {"state": "preopen", "openType": "call_auction"} if market.auction else {}
    return {**_FIELDS, **_LARGEST, **found, **auction}


def text(listed: list[dict[str, object]]) -> str:
    """Rows as they go over the wire, without the brackets of their list."""
    return ",".join(json.dumps(one, separators=(",", ":")) for one in listed)


def _odd(shown: Set[Oddity]) -> Iterator[dict[str, object]]:
    if Oddity.OKX_PLACEHOLDERS in shown:
        yield from _placeholders()
    if Oddity.OKX_STATES in shown:
        yield from _not_trading()


def _placeholders() -> Iterator[dict[str, object]]:
    for kind, named in (("SPOT", {"baseCcy": "SLX", "quoteCcy": "USDT"}), ("SWAP", {"settleCcy": "USDT"})):
        yield {**_FIELDS, **named, "instType": kind, "instId": f"LISTING-{kind}-SLX-USDT", "state": "preopen"}
    yield {**_FIELDS, "instType": "FUTURES", "state": "preopen"}
    yield {"instId": "ETH-USD_UM-SWAP", "instType": "SWAP", "state": "preopen"}


def _not_trading() -> Iterator[dict[str, object]]:
    linear = {**_FIELDS, **_LARGEST, "ctMult": "1", "ctType": "linear", "instCategory": _CRYPTO, "lotSz": "0.01"}
    for base, state, rule in (("LOOM", "suspend", "normal"), ("SPCX", "rebase", "rebase_contract")):
        yield linear | {
            "instType": "SWAP", "instId": f"{base}-USDT-SWAP", "instFamily": f"{base}-USDT", "uly": f"{base}-USDT",
            "ctVal": "10", "ctValCcy": base, "settleCcy": "USDT", "minSz": "0.01", "tickSz": "0.0001", "state": state,
            "ruleType": rule, "instIdCode": _id_code(f"{base}-USDT-SWAP"), "listTime": str(_LISTED_MS),
        }  # fmt: skip
    yield linear | {
        "instType": "FUTURES", "instId": "BTC-USD-311226", "instFamily": "BTC-USD", "uly": "BTC-USD",
        "ctType": "inverse", "ctVal": "100", "ctValCcy": "USD", "settleCcy": "BTC", "lotSz": "1", "minSz": "1",
        "tickSz": "0.1", "expTime": _expiry_ms("311226"), "alias": "next_quarter", "state": "suspend",
        "instIdCode": _id_code("BTC-USD-311226"), "listTime": str(_LISTED_MS),
    }  # fmt: skip
    yield {
        **_FIELDS, "instType": "SPOT", "instId": "XAAPL-USDT", "baseCcy": "XAAPL", "quoteCcy": "USDT",
        "instCategory": _SHARE, "lotSz": "0.0001", "minSz": "0.001", "tickSz": "0.01", "state": "suspend",
        "instIdCode": _id_code("XAAPL-USDT"), "tradeQuoteCcyList": ["USDT"], "listTime": str(_LISTED_MS),
    }  # fmt: skip


def _id_code(code: str) -> int:
    return crc32(code.encode()) % 1_000_000


def _expiry_ms(date: str) -> str:
    """08:00 UTC of a date as names of contracts have it, in Unix ms; nothing for none."""
    return str(round(datetime.strptime(f"{date}+0000", "%y%m%d%z").timestamp() * 1000) + 8 * 3_600_000) if date else ""
