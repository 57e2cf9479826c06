"""Names: what is spelled can be read back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tidemark import naming
from tidemark.exchanges import registry


def test_topics_of_an_exchange() -> None:
    names = [t.name for t in naming.topics("upbit", registry.get("upbit").datasets)]
    assert names[0] == "raw.upbit.trade.v1"
    assert "raw.upbit.trade.v1.dlq" in names
    assert len(names) == len(set(names)) == 2 * len(registry.get("upbit").datasets)


def test_records_are_kept_for_a_week_at_least() -> None:
    week = 7 * 24 * 3600 * 1000
    assert all(t.retention_ms >= week for t in naming.topics("upbit", registry.get("upbit").datasets))


def test_a_topic_name_is_read_back() -> None:
    assert naming.parse_raw_topic("raw.upbit.trade.v1") == naming.TopicName("upbit", "trade", 1)


@pytest.mark.parametrize("name", ["raw.upbit.trade", "raw.upbit.trade.v1.dlq", "replay.1.raw.upbit.trade.v1", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"raw\.<exchange>"):
        naming.parse_raw_topic(name)


def test_a_replay_has_topics_of_its_own_that_never_expire() -> None:
    originals = naming.topics("upbit", ("trade",))
    played = naming.replay_topics("run-1", originals)
    assert [t.name for t in played] == ["replay.run-1.raw.upbit.trade.v1", "replay.run-1.raw.upbit.trade.v1.dlq"]
    assert [t.partitions for t in played] == [t.partitions for t in originals]
    assert {t.retention_ms for t in played} == {-1}
    assert naming.original_topic(played[0].name) == "raw.upbit.trade.v1"
    assert naming.original_topic("raw.upbit.trade.v1") == "raw.upbit.trade.v1"


@pytest.mark.parametrize("run", ["", "Run", "a.b", "x" * 41, "raw/", "a b"])
def test_a_run_needs_a_plain_name(run: str) -> None:
    with pytest.raises(ValueError, match="lower-case letters"):
        naming.replay_topic(run, "raw.upbit.trade.v1")


def test_the_chain_of_a_replay_is_read_back() -> None:
    path = naming.chain_object("replay.run-1.raw.upbit.trade.v1", "c", 0, 0, 5)
    found = naming.parse_chain_object(path)
    assert found == naming.ChainObject("replay.run-1.raw.upbit.trade.v1", "c", 0, 0, 5)


def test_a_chain_object_is_read_back() -> None:
    path = naming.chain_object("raw.upbit.trade.v1", "Mk3-x_Q", 2, 3, 17)
    assert path == "landing/raw.upbit.trade.v1/Mk3-x_Q-2/p0003/00000000000000000017.parquet"
    assert naming.parse_chain_object(path) == naming.ChainObject("raw.upbit.trade.v1", "Mk3-x_Q", 2, 3, 17)


def test_a_rest_object_is_in_no_chain() -> None:
    assert naming.parse_chain_object(naming.rest_object("raw.upbit.candle.v1", "ab" * 16)) is None


def test_paths_of_an_hour() -> None:
    hour = datetime(2026, 4, 13, 7, tzinfo=UTC)
    assert naming.compacted_prefix("trade", "upbit", hour) == "raw/trade/v1/exchange=upbit/dt=2026-04-13/hour=07/"
    assert naming.raw_partition("trade", hour) == "raw.trade_v1_20260413"
