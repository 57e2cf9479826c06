"""The questions of ``ops__platform__health``: no where that part is ill, unknown without evidence, else yes."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from pydantic import SecretStr

from tests.integration.warehouse.place import Place
from tidemark.jobs import health
from tidemark.settings import SlackSettings

_LOAD = """
insert into ops.load_ledger (path, kind, exchange, dataset, topic, cluster, epoch, partition, start_offset, end_offset,
    rows, parsed, dead, ignored, hour_at, byte_size, checksum, version, received_min, received_max, loaded_at)
select 'p' || random(), 'data', 'upbit', 'trade', 't', 'c', 0, 0, 0, 0, 1, 1, {dead}, 0, date_trunc('hour', now()), 1,
    '', '', now() - interval '{age}', now() - interval '{age}', now() - interval '{age}'
"""
#: 03:00 KST on the 30th: the report of the 29th must be posted.
NOW = datetime(2026, 11, 29, 18, tzinfo=UTC)
DAY = "2026-11-29"
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


#: What proves that a part is well, where no problem is found.
_SILVER = f"""{_LOAD.format(dead=0, age="1 minute")};
    insert into ops.load_mark (load_id, consumer) select load_id, 'silver.trade' from ops.load_ledger"""
_GOLD = """insert into ops.build (dataset, exchange) values ('trade', 'upbit');
    insert into ops.build_mark (build_id, consumer) select build_id, 'gold.ohlcv_1m' from ops.build"""
_CHECKED = """insert into ops.completeness (exchange, dataset, hour_at, identity, status)
    values ('upbit', 'trade', date_trunc('hour', now()), 3, 'green')"""
_POSTED = f"""insert into ops.slack_outbox (key, channel, payload, state, ts)
    values ('daily_report:{DAY}:C1:1', 'C1', '{{}}', 'sent', '1')"""
WELL = {
    "streams_flow": _LOAD.format(dead=0, age="1 minute"),
    "gates_are_open": """insert into ops.quality_run (exchange, dataset, status, loads, rows)
        values ('upbit', 'trade', 'green', 1, 1)""",
    "nothing_is_red": _CHECKED,
    "gaps_are_settled": _CHECKED,
    "messages_are_read": _LOAD.format(dead=0, age="1 minute"),
    "silver_keeps_up": _SILVER,
    "gold_keeps_up": _GOLD,
    "reports_are_posted": _POSTED,
    "late_data_was_followed": _GOLD,
}


@pytest.mark.parametrize("question", [name for name in health.QUESTIONS if name != "streams_flow"])
def test_without_evidence_the_answer_is_unknown(place: Place, question: str) -> None:
    found = health.run(place.settings, question, NOW)
    assert (found.problems, found.answer) == ((), "unknown")
    assert len(found.unknown) == 1
    assert f"unknown\n  {found.unknown[0]}" in str(found)


@pytest.mark.parametrize("question", health.QUESTIONS)
def test_with_evidence_and_without_a_problem_the_answer_is_yes(place: Place, question: str) -> None:
    place.opened[0].execute(WELL[question].encode())
    assert health.run(place.settings, question, NOW).answer == "yes"


def slack_is_set(place: Place) -> None:
    slack = SlackSettings(token=SecretStr("xoxb-test"), channel="C1")
    place.settings = place.settings.model_copy(update={"slack": slack})


def reports(place: Place) -> health.HealthSummary:
    return health.run(place.settings, "reports_are_posted", NOW)


def test_a_report_that_never_came_is_a_problem_where_the_platform_ran_that_day(place: Place) -> None:
    slack_is_set(place)
    assert reports(place).unknown == (f"no report of {DAY} was posted",), "the platform did not run on that day"
    place.opened[0].execute(_LOAD.format(dead=0, age="1 minute").encode())
    place.opened[0].execute(b"update ops.load_ledger set loaded_at = '2026-11-28T12:00:00Z'")
    (problem,) = reports(place).problems
    assert problem.startswith(f"daily_report:{DAY}: not in the outbox")
    place.opened[0].execute(_POSTED.encode())
    assert reports(place).answer == "yes"


def test_a_report_that_hangs_while_it_is_sent_is_a_problem(place: Place) -> None:
    slack_is_set(place)
    place.opened[0].execute(_POSTED.replace("'sent'", "'sending'").encode())
    assert reports(place).unknown, "it may still come"
    place.opened[0].execute(b"update ops.slack_outbox set updated_at = now() - interval '2 hours'")
    assert [problem.split()[1] for problem in reports(place).problems] == ["sending"]


def test_without_slack_nobody_can_say_that_reports_are_posted(place: Place) -> None:
    assert reports(place).unknown == ("Slack is not set, so nothing is posted",)


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-11-29T15:05:00", date(2026, 11, 28)),
        ("2026-11-29T16:29:59", date(2026, 11, 28)),
        ("2026-11-29T16:30:00", date(2026, 11, 29)),
    ],
)
def test_a_report_must_be_posted_an_hour_after_its_wait(now: str, due: date) -> None:
    assert health.report_due(datetime.fromisoformat(now).replace(tzinfo=UTC), 30) == due


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
