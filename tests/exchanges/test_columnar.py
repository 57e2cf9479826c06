"""Frames read by the column: exactly what the exchange's parser makes of them, whatever they are."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.exchanges.binance import samples as binance
from tests.exchanges.columnar import captured, check, rows
from tests.exchanges.okx import samples as okx
from tests.exchanges.upbit import samples
from tidemark.exchanges import registry
from tidemark.exchanges.base import Unparsable
from tidemark.exchanges.columnar import native
from tidemark.exchanges.columnar.reader import Reader
from tidemark.exchanges.columnar.shape import Column, Shape
from tidemark.exchanges.values import decimal, integer

SAMPLES = {
    ("upbit", dataset): [*frames, *([samples.TRADE_2021] if dataset == "trade" else [])]
    for dataset, frames in samples.BY_DATASET.items()
}
SAMPLES |= {("okx", dataset): list(frames) for dataset, frames in okx.BY_DATASET.items()}
SAMPLES["okx", "trade"] += [okx.TRADE.replace(b'"count":"3"', b'"count":"1"')]
#: Contracts of unknown size, inverse ones and a spot market beside the linear ones.
for _dataset in ("trade", "ticker", "depth"):
    SAMPLES["okx", _dataset] += [
        frame.replace(code, other)
        for frame in okx.BY_DATASET[_dataset]
        for code in (b"BTC-USDT-SWAP", b"ETH-USDT-SWAP")
        for other in (b"XMR-USDT-SWAP", b"ETH-USD_UM_XPERP-310404", b"UNI-USD-SWAP", b"XMR-USDT")
        if code in frame
    ]
SAMPLES |= {
    ("binance", dataset): [frame, binance.wrapped(frame, binance.STREAMS[dataset])]
    for dataset, frame in binance.BY_DATASET.items()
}
SAMPLES["binance", "depth"] += [
    frame.replace(b'[["64250.10","0.750"]]', other)
    for frame in SAMPLES["binance", "depth"]
    for other in (b"[]", b'[["1","2"],["3","4"]]')
]
DECLARED = [(name, d) for name in registry.EXCHANGES for d in registry.get(name).datasets if registry.shapes(name, d)]

#: What a value may be replaced with.
VALUES = [
    *(b"0E-8", b"1.16539E8", b"7.9276E-4", b"1e5", b"1E+5", b"1E20", b"1E19", b"1E-30", b"0E-99999", b"1e400", b"5.E3"),
    *(b"1E+0000000005", b"1E1E1", b"-", b"--1", b"-1", b"-0", b"-0.0", b"+1", b"007", b".5", b"5.", b"1.0", b"0x1F"),
    *(b"1 ", b" 1", b"1 2", b"nan", b"NaN", b"Infinity", b"null", b"nul", b"true", b"false", b"[]", b"{}", b'{"a":1}'),
    *(b"9007199254740993", b"9223372036854775807", b"9223372036854775808", b"99999999999999999999", b"1" * 21),
    *(b"12345678901234567890.123456789012345678", b"0." + b"0" * 30, b"1." + b"0" * 80, b"0.0000000000000000001"),
    *(b"1730336862082", b"1730336862082123", b"1730336862", b"99999999999999999", b"100000000000", b"99999999999"),
    *(b'"x"', b'""', b'"1.5"', b'"+1"', b'" 1"', b'"007"', b'"null"', b'"BID"', b'"NEW"', b'"a,b"', b'"a\\u0041"'),
    *(
        b'"\xff"',
        b'"\xed\xa0\x80"',
        '"한글"'.encode(),
        b'"a\x00"',
        b'"a\nb"',
        b'"KRW-1E5"',
        b'"2026-07-30T07:00:00+09:00"',
    ),
    *(b'"]"', b'"}"', b'"{"', b"[1]", b'[["1","2"]]', b'[["1","2","3"]]', b"", b"1,2", b'"1","2"'),
]
#: Captured frames of no common spelling: options and inverse contracts, fields that were dropped since.
_ONE_BY_ONE = {("okx", "trade"): 8}
_VALUE = re.compile(rb'(?<=:)("[^"]*"|[-0-9.eE+]+|null|true|false)|(?<=\[)"[^"]*"')


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    native.compile_library()
    native.library.cache_clear()
    if native.library() is None:
        pytest.skip("no C compiler")


@st.composite
def mutated(draw: st.DrawFn, frames: list[bytes]) -> bytes:
    """A frame with up to three things wrong."""
    frame = draw(st.sampled_from(frames))
    for _ in range(draw(st.integers(0, 3))):
        frame = _MUTATIONS[draw(st.sampled_from(sorted(_MUTATIONS)))](draw, frame)
    return frame


def _other_value(draw: st.DrawFn, frame: bytes) -> bytes:
    found = list(_VALUE.finditer(frame))
    if not found:
        return frame
    spot = draw(st.sampled_from(found))
    return frame[: spot.start()] + draw(st.sampled_from(VALUES)) + frame[spot.end() :]


def _other_number(draw: st.DrawFn, frame: bytes) -> bytes:
    number = draw(st.decimals(allow_nan=False, allow_infinity=False, places=draw(st.integers(0, 20)))) * draw(
        st.sampled_from([Decimal(1), Decimal("1E-30"), Decimal("1E12"), Decimal("1E30")])
    )
    found = list(re.finditer(rb"(?<=:)[-0-9.eE+]+", frame))
    if not found:
        return frame
    spot = draw(st.sampled_from(found))
    return frame[: spot.start()] + str(number).encode() + frame[spot.end() :]


def _other_byte(draw: st.DrawFn, frame: bytes) -> bytes:
    at = draw(st.integers(0, max(0, len(frame) - 1)))
    return frame[:at] + bytes([draw(st.integers(0, 255))]) + frame[at + 1 :]


def _cut(draw: st.DrawFn, frame: bytes) -> bytes:
    at = draw(st.integers(0, len(frame)))
    return frame[:at] + frame[at + draw(st.integers(1, 30)) :]


def _twice(draw: st.DrawFn, frame: bytes) -> bytes:
    at = draw(st.integers(0, len(frame)))
    return frame[: at + draw(st.integers(1, 60))] + frame[at:]


def _fields(draw: st.DrawFn, frame: bytes) -> list[bytes]:
    return frame[1:-1].split(b",")


_MUTATIONS: dict[str, Any] = {
    "value": _other_value,
    "number": _other_number,
    "byte": _other_byte,
    "cut": _cut,
    "twice": _twice,
    "order": lambda draw, f: b"{" + b",".join(draw(st.permutations(_fields(draw, f)))) + b"}",
    "field": lambda draw, f: f[:-1] + b',"new":' + draw(st.sampled_from(VALUES)) + b"}",
    "array": lambda draw, f: draw(st.sampled_from([b"[%b]", b"[[%b]]", b"[%b,%b]"])).replace(b"%b", f),
    "spaces": lambda draw, f: f.replace(b":", b": ").replace(b",", b", "),
    "around": lambda draw, f: draw(st.sampled_from([b"\n%b", b"%b\n", b" %b ", b"%b%b", b"\xef\xbb\xbf%b"])).replace(
        b"%b", f
    ),
}


@pytest.mark.parametrize(("exchange", "dataset"), DECLARED)
def test_the_samples_are_read_by_the_column(exchange: str, dataset: str) -> None:
    frames = SAMPLES[exchange, dataset]
    assert check(exchange, dataset, frames) == []
    assert check(exchange, dataset, frames * 3) == []


@pytest.mark.parametrize(("exchange", "dataset"), DECLARED)
def test_every_value_in_every_field(exchange: str, dataset: str) -> None:
    for sound in SAMPLES[exchange, dataset][:2]:
        reader = Reader(registry.shapes(exchange, dataset))
        for spot in _VALUE.finditer(sound):
            odd = [sound[: spot.start()] + value + sound[spot.end() :] for value in VALUES]
            check(exchange, dataset, [frame for one in odd for frame in (sound, one)], reader)
            for one in odd[::5]:
                check(exchange, dataset, [one, one], reader)


@pytest.mark.parametrize(("exchange", "dataset"), DECLARED)
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_read_is_what_the_parser_reads(exchange: str, dataset: str, data: st.DataObject) -> None:
    sound = SAMPLES[exchange, dataset]
    odd = data.draw(st.lists(mutated(sound), min_size=1, max_size=12))
    frames = data.draw(st.permutations([*odd, *sound, *sound]))
    reader = Reader(registry.shapes(exchange, dataset))
    if data.draw(st.booleans()):
        assert check(exchange, dataset, sound, reader) == []
    check(exchange, dataset, frames, reader)
    check(exchange, dataset, [frame for frame in frames if frame not in odd], reader)


@pytest.mark.parametrize("exchange", sorted(registry.EXCHANGES))
def test_every_captured_frame_is_read_as_the_parser_reads_it(exchange: str, captures: Path) -> None:
    folders = {path.name.partition("-")[0]: path for path in captures.iterdir() if path.is_dir()}
    for dataset, frames in captured(exchange, folders[exchange]).items():
        if not registry.shapes(exchange, dataset):
            continue
        reader = Reader(registry.shapes(exchange, dataset))
        left = [n for at in range(0, len(frames), 500) for n in check(exchange, dataset, frames[at : at + 500], reader)]
        assert len(left) <= len(frames) // 20 + _ONE_BY_ONE.get((exchange, dataset), 2)


def test_one_odd_frame_among_many_leaves_the_others_alone() -> None:
    frames = [samples.TRADE.replace(b'"sequential_id":1', b'"sequential_id":%d' % (n % 7 + 1)) for n in range(1000)]
    frames[413] = frames[413].replace(b"109649000.0", b"1" * 30 + b".0")
    frames[700] = b"no JSON"
    frames[701] = samples.TRADE[:-1] + b',"new":1}'
    frames[999] = samples.TRADE.replace(b'"code":"KRW-BTC"', b'"code":null')
    left = check("upbit", "trade", frames)
    assert left == [413, 700, 999]


def test_text_of_other_scripts_is_kept() -> None:
    frames = [samples.TICKER.replace(b'"ACTIVE"', '"거래중"'.encode()), samples.TICKER]
    assert check("upbit", "ticker", frames) == []
    assert rows("upbit", "ticker", frames[0])[0]["market_state"] == "거래중"


def test_books_of_any_depth_are_read() -> None:
    unit = b'{"ask_price":%d,"bid_price":%d,"ask_size":1.5,"bid_size":0.25}'
    head, tail = samples.ORDERBOOK.split(b"[")[0] + b"[", b'],"level":0,"stream_type":"SNAPSHOT"}'
    frames = [head + b",".join(unit % (101 + n, 100 - n) for n in range(depth)) + tail for depth in (0, 1, 2, 15, 30)]
    assert check("upbit", "orderbook", [samples.ORDERBOOK, *frames]) == []


def test_two_arrays_of_levels_are_kept_apart() -> None:
    """One inside the other's frame, either empty."""
    head = b'{"type":"orderbook","code":"KRW-BTC","orderbook_units":'
    odd = [head + b"[1,2]}", head + b"[[1,2]]}", head + b"null}", head + b"[{}]}", head + b'[{"ask_price":1}]}']
    left = check("upbit", "orderbook", odd + [samples.ORDERBOOK] * 3) if _all_parse(odd) else range(5)
    assert set(range(5)) <= set(left)


def _all_parse(frames: list[bytes]) -> bool:
    try:
        return bool([rows("upbit", "orderbook", frame) for frame in frames])
    except Unparsable:
        return False


def test_without_a_shape_everything_is_left() -> None:
    assert Reader(()).read([b"{}", b"x"]) == ([], [0, 1])
    assert Reader(registry.shapes("upbit", "trade")).read([]) == ([], [])


NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def test_numbers_are_json_numbers_and_none_else() -> None:
    """Every text of up to four characters out of those that numbers are made of."""
    texts = ["".join(p) for n in range(1, 5) for p in product("019.-+eEx ", repeat=n)]
    for convert in (decimal, integer):
        for text, number in zip(texts, _read_each(texts, convert), strict=True):
            if number is not None:
                assert NUMBER.fullmatch(text.strip()), text
                assert number == convert(json.loads(text, parse_float=Decimal), "x"), text
        usual = ["0", "-0", "10", "-19", "9019"] + (
            ["0.1", "-1.09", "0E-9", "1E9", "9.1e9", "1E-9"] if convert is decimal else []
        )
        assert None not in _read_each(usual, convert)


def _read_each(texts: list[str], convert: Any) -> list[Any]:
    """The numbers that are read; None for those that are not."""
    column = "price" if convert is decimal else "trade_id"
    reader = Reader((Shape("trade", columns=(Column(("a",), column, convert, required=True),)),))
    parts, _ = reader.read([b'{"a":%b,"b":1}' % text.encode() for text in texts])
    found: list[Any] = [None] * len(texts)
    for part in parts:
        for n, number in zip(part.frames.tolist(), part.columns[column].to_pylist(), strict=True):
            found[n] = number
    return found


@pytest.mark.parametrize("length", [0, 1, 4, 5, 11, 12, 13, 40])
def test_texts_of_any_length_are_whole(length: int) -> None:
    frame = samples.TRADE.replace(b'"REALTIME"', b'"' + b"x" * length + b'"')
    assert check("upbit", "trade", [frame, samples.TRADE, frame]) == []
