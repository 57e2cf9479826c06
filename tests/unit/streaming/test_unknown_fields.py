"""Fields that nobody knows: each is reported once, whatever the values are, at the price of one look a combination."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from streaming.consumer import records, unknown_fields
from streaming.consumer.buffer import Buffer
from streaming.consumer.columns import Columns
from streaming.consumer.decode import Decoder
from streaming.consumer.metrics import FAST, SLOW, Meter
from streaming.consumer.unknown_fields import OTHER, UnknownFields
from tests.exchanges.binance import samples as binance
from tests.exchanges.okx import samples as okx
from tests.exchanges.upbit import samples as upbit
from tests.unit.streaming.everything import with_extra
from tidemark.lake.chain import Chain

TOPIC = "raw.upbit.trade.v1"
PLACE = ("upbit", "trade", TOPIC)


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as found:
        yield found


def look(found: UnknownFields, *texts: str | None, kept: frozenset[str] = frozenset()) -> None:
    found.look(PLACE, kept, with_extra(*texts))


def test_a_field_is_reported_once_with_an_example_and_since_when(logs: list[Any]) -> None:
    found = UnknownFields()
    look(found, None, '{"fee":0.05}', '{"fee":0.07,"phase":{"name":"open"}}')
    look(found, '{"fee":0.09,"phase":null}')
    assert logs == [
        {
            "event": "unknown_field", "log_level": "warning", "exchange": "upbit", "dataset": "trade", "topic": TOPIC,
            "field": "fee", "example": "0.05", "offset": 101, "since": "1970-01-01T00:00:01+00:00",
        },
        {
            "event": "unknown_field", "log_level": "warning", "exchange": "upbit", "dataset": "trade", "topic": TOPIC,
            "field": "phase", "example": '{"name":"open"}', "offset": 102, "since": "1970-01-01T00:00:02+00:00",
        },
    ]  # fmt: skip
    assert list(found.found()) == [(TOPIC, "fee"), (TOPIC, "phase")]


def test_topics_are_reported_by_themselves(logs: list[Any]) -> None:
    found = UnknownFields()
    for topic in (TOPIC, "raw.okx.trade.v1"):
        found.look(("x", "trade", topic), frozenset(), with_extra('{"fee":1}'))
    assert [entry["topic"] for entry in logs] == [TOPIC, "raw.okx.trade.v1"]


def test_what_is_kept_on_purpose_is_not_reported(logs: list[Any]) -> None:
    look(UnknownFields(), '{"nq":"1.5","st":1,"fee":2}', kept=frozenset(("nq", "st")))
    assert [entry["field"] for entry in logs] == ["fee"]


def test_a_long_example_is_cut(logs: list[Any]) -> None:
    look(UnknownFields(), json.dumps({"note": "é" * 500}, ensure_ascii=False))
    assert len(logs[0]["example"]) <= 200
    assert logs[0]["example"].startswith('"éé')


def test_names_without_end_become_one(logs: list[Any]) -> None:
    found = UnknownFields()
    for batch in range(30):
        look(found, *(json.dumps({f"name{batch}_{n}": n}) for n in range(10)))
    names = [name for _, name in found.found()]
    assert len(names) == len(logs) == 101
    assert names.count(OTHER) == 1


def test_json_is_parsed_once_a_combination_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    class Counting:
        def decode(self, text: str) -> dict[str, bytes]:
            parsed.append(text)
            return dict.fromkeys(json.loads(text), b"")

    monkeypatch.setattr(unknown_fields, "_FIELDS", Counting())
    found = UnknownFields()
    for batch in range(3):
        rows = [json.dumps({"source": str(n), "seqId": n + batch}) for n in range(500)]
        look(found, *rows, *(json.dumps({"seqId": -n, "source": f'": {n}'}) for n in range(3)))
        look(found, *(json.dumps({"source": n, "phase": {"left": n}}) for n in range(500)))
    # A text with a quote and a colon in it counts as a combination of its own.
    assert len(parsed) <= 5


def test_a_rare_field_in_large_batches_is_found_in_time() -> None:
    found = UnknownFields()
    usual = [f'{{"st":1,"n":{n}}}' for n in range(4_000)]
    with capture_logs() as logs:
        for _ in range(16):
            look(found, *usual[:1_777], '{"st":1,"fee":2}', *usual[1_777:], kept=frozenset(("st", "n")))
    assert [entry["field"] for entry in logs] == ["fee"]
    assert logs[0]["offset"] == 1_877


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.text("abcdefghijklmnop_", min_size=1, max_size=20), st.integers(), max_size=8), max_size=12
    )
)
def test_every_name_is_found_in_any_mix(rows: list[dict[str, int]]) -> None:
    found = UnknownFields()
    with capture_logs():
        look(found, *(json.dumps(row) if row else None for row in rows))
    # Names are told apart by their last twelve letters.
    ends = {name[-12:] for row in rows for name in row}
    assert {name[-12:] for _, name in found.found()} == ends


@pytest.mark.parametrize(
    ("exchange", "dataset", "frame", "names"),
    [
        ("upbit", "trade", upbit.TRADE[:-1] + b',"fee":0.05,"phase":{"a":[1]}}', {"fee", "phase"}),
        ("upbit", "trade", upbit.TRADE_SHORT, set()),
        ("okx", "trade", okx.TRADE.replace(b'"px"', b'"source":"0","seqId":7,"fee":"1","px"'), {"fee"}),
        ("binance", "trade", binance.TRADE.replace(b'"p":', b'"nq":"1.0","st":1,"zz":1,"p":'), {"zz"}),
    ],
)
def test_a_batch_reports_what_no_column_holds(exchange: str, dataset: str, frame: bytes, names: set[str]) -> None:
    meter = Meter()
    topic = f"raw.{exchange}.{dataset}.v1"
    with capture_logs() as logs:
        gather(meter, topic, [frame] * 50)
    assert {entry["field"] for entry in logs if entry["event"] == "unknown_field"} == names
    assert {name for _, name in meter.unknown.found()} == names


def test_frames_are_counted_by_the_path_they_took() -> None:
    meter = Meter()
    twice = b"[" + upbit.TRADE + b"," + upbit.TRADE_SHORT + b"]"
    gather(meter, TOPIC, [upbit.TRADE] * 5 + [twice] * 3 + [b"no JSON", upbit.STATUS])
    assert meter.frames == {(TOPIC, FAST): 5, (TOPIC, SLOW): 3}


def test_a_topic_is_shown_before_its_first_frame() -> None:
    meter = Meter()
    meter.assigned(TOPIC)
    assert meter.frames == {(TOPIC, FAST): 0, (TOPIC, SLOW): 0}


def gather(meter: Meter, topic: str, frames: list[bytes]) -> None:
    chain = Chain(topic, "cluster", 0, 0)
    buffer = Buffer(chain, Columns(Decoder(chain), meter=meter), 0, lambda: 0.0)
    for offset, frame in enumerate(frames):
        buffer.add(records.make(offset, 1_776_038_400_000, b"k", frame, (("received_ns", b"1776038400000000123"),)))
    buffer.seal()
