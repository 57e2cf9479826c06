"""Two brokers of one state directory: each has an epoch of its own, and none takes the other's part unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.local.conftest import with_local
from tidemark import naming
from tidemark.local import children, preflight
from tidemark.local.layout import Layout
from tidemark.local.process import LocalError

CLUSTER = "AloIusqtRPaR-xyz"


def kafka_was_here(layout: Layout) -> None:
    """As Kafka leaves its data directory after a stop."""
    layout.kafka.data.mkdir(parents=True)
    (layout.kafka.data / "meta.properties").write_text(f"version=1\ncluster.id={CLUSTER}\nnode.id=1\n")


def test_each_broker_counts_by_itself(layout: Layout) -> None:
    assert (layout.epoch(memory=False), layout.epoch(memory=True)) == (0, 0)
    assert layout.raise_epoch(memory=False) == 1
    assert [layout.raise_epoch(memory=True) for _ in range(3)] == [1, 2, 3]
    assert children.local_settings(layout, memory=False).kafka.epoch == 1
    assert children.local_settings(layout, memory=True).kafka.epoch == 3
    assert layout.raise_epoch(memory=False) == 2
    assert layout.epoch(memory=True) == 3


def test_one_count_for_both_of_a_release_before_is_divided(layout: Layout) -> None:
    """Kafka keeps the name of its chain, whatever the other broker counted since."""
    layout.write_note("epoch", {"epoch": 5})
    assert (layout.epoch(memory=False), layout.epoch(memory=True)) == (5, 5)
    kafka_was_here(layout)
    (layout.lake / naming.chain_prefix("raw.upbit.trade.v1", CLUSTER, 2, 0)).mkdir(parents=True)
    (layout.lake / naming.chain_prefix("raw.upbit.trade.v1", "memory", 5, 0)).mkdir(parents=True)
    assert layout.epoch(memory=False) == 2
    assert layout.raise_epoch(memory=True) == 6
    assert (layout.epoch(memory=False), layout.epoch(memory=True)) == (2, 6)


def test_kafkas_state_is_never_left_by_itself(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert preflight.choose_broker(layout)[0] is True
    kafka_was_here(layout)
    with pytest.raises(LocalError, match=r"^no Java found, and the broker of [^\n]* is Kafka\. [^\n]*BROKER=memory"):
        preflight.choose_broker(layout)
    memory, line = preflight.choose_broker(with_local(layout, broker="memory"))
    assert (memory, "as asked for" in line) == (True, True)
