"""The questions of ``ops__platform__health``: no to each when that part is ill, and yes when it isn't."""

from __future__ import annotations

import pytest

from tests.integration.warehouse.place import Place
from tidemark.jobs import health

_LOAD = """
insert into ops.load_ledger (path, kind, exchange, dataset, topic, cluster, epoch, partition, start_offset, end_offset,
    rows, parsed, dead, ignored, hour_at, byte_size, checksum, version, received_min, received_max, loaded_at)
select 'p' || random(), 'data', 'upbit', 'trade', 't', 'c', 0, 0, 0, 0, 1, 1, {dead}, 0, date_trunc('hour', now()), 1,
    '', '', now() - interval '{age}', now() - interval '{age}', now() - interval '{age}'
"""
ILL = {
    "streams_flow": (_LOAD.format(dead=0, age="40 minutes"), "upbit: no trade was loaded that came after"),
    "gates_are_open": (
        "insert into ops.gate (exchange, dataset, status, reason) values ('upbit', 'trade', 'red', 'odd prices')",
        "upbit trade: gold waits, odd prices",
    ),
    "nothing_is_red": (
        """insert into ops.completeness (exchange, dataset, hour_at, identity, status)
        values ('upbit', 'trade', date_trunc('hour', now()), 3, 'red')""",
        "upbit: identity 3 of trade is red in 1 hours",
    ),
    "gaps_are_settled": (
        """insert into ops.gap (exchange, stream, from_at, cause, found_at)
        values ('upbit', 'trade', now(), 'silent', now() - interval '2 hours')""",
        "upbit: 1 gaps of trade are open for more than an hour",
    ),
    "messages_are_read": (_LOAD.format(dead=7, age="1 minute"), "upbit: 7 dead letters of trade"),
    "silver_keeps_up": (
        f"""{_LOAD.format(dead=0, age="3 hours")};
        {_LOAD.format(dead=0, age="3 hours")};
        insert into ops.load_mark (load_id, consumer) select min(load_id), 'silver.trade' from ops.load_ledger""",
        "silver.trade: 1 loads wait",
    ),
    "gold_keeps_up": (
        "insert into ops.build (dataset, exchange, built_at) values ('trade', 'upbit', now() - interval '3 hours')",
        "gold.ohlcv_1m: 1 changes of silver wait",
    ),
    "reports_are_posted": (
        """insert into ops.slack_outbox (key, channel, payload, state, error, updated_at)
        values ('report 2026-11-20', 'c', '{}', 'unknown', 'timed out', now() - interval '2 hours')""",
        "report 2026-11-20: unknown timed out",
    ),
    "late_data_was_followed": (
        """insert into ops.refusal (consumer, exchange, market, from_at, to_at, reason)
        values ('gold.ohlcv_1m', 'upbit', 'BTC-KRW', now(), now(), 'silver.trade is kept since yesterday')""",
        "gold.ohlcv_1m did not follow 1 late changes",
    ),
}


def ask(place: Place, question: str) -> tuple[str, ...]:
    return health.run(place.settings, question).problems


@pytest.mark.parametrize("question", health.QUESTIONS)
def test_a_part_that_is_ill_says_what_and_where(place: Place, question: str) -> None:
    if question == "streams_flow":
        assert ask(place, question) == ("upbit: no trade was loaded that came after the beginning",)
    else:
        assert ask(place, question) == ()
    query, told = ILL[question]
    place.opened[0].execute(query.encode())
    (problem,) = ask(place, question)
    assert problem.startswith(told), problem


def test_a_stream_that_flows_is_well(place: Place) -> None:
    place.opened[0].execute(_LOAD.format(dead=0, age="5 minutes").encode())
    assert ask(place, "streams_flow") == ()
    assert str(health.run(place.settings, "streams_flow")) == "streams flow: yes"


def test_exchanges_that_are_not_carried_are_left_alone(place: Place) -> None:
    place.opened[0].execute(
        "insert into ops.gate (exchange, dataset, status, reason) values ('okx', 'trade', 'red', 'odd')"
    )
    assert ask(place, "gates_are_open") == ()
