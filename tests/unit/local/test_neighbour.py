"""Two clones on one machine: what runs on a port of mine without being mine is never asked."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from tests.unit.local.conftest import with_local
from tidemark.local import process, stack, summary, workers
from tidemark.local.day import Day
from tidemark.local.layout import Layout
from tidemark.local.process import LocalError

DAY = Day(date(2026, 4, 13))
EXCHANGES = ("upbit", "okx", "binance")


@pytest.fixture
def neighbour(layout: Layout, tmp_path: Path) -> Iterator[Layout]:
    """A stack in another folder on the same ports, whose simulator runs."""
    other = with_local(layout, state_dir=tmp_path / "neighbour", trades_per_day=1_000, swap_trades_per_day=1_000)
    workers.start_simulator(other, ["--day", DAY.date.isoformat(), "--day-zone", "kst"])
    yield other
    process.stop(workers.simulator(other))


def test_down_notes_nothing_of_what_a_neighbour_played(layout: Layout, neighbour: Layout) -> None:
    assert stack.down(layout.settings) == 0
    assert layout.note("played") == {}
    assert stack._what_to_play(layout, DAY)[0] == "--day"
    stack.remember_played(neighbour)
    assert neighbour.note("played")["exchanges"] == list(EXCHANGES)


def test_a_neighbours_simulator_is_no_witness(layout: Layout, neighbour: Layout) -> None:
    assert workers.simulator_status(neighbour).keys() == set(EXCHANGES)
    with pytest.raises(LocalError, match="the simulator does not answer"):
        workers.simulator_status(layout)
    assert workers.simulator_trades(layout, "upbit") == {}
    assert summary._witness(None, layout, DAY) == (summary.NOT_COMPARED, [])  # type: ignore[arg-type]


def test_a_first_run_that_was_not_compared_is_not_green() -> None:
    states = {number: {"upbit": {"green": 1}} for number in summary.IDENTITIES}
    rows = {layer: {"trade": {"upbit": 1}} for layer in summary.LAYERS}
    found = summary.Summary(("upbit",), {"upbit": 1}, rows=rows, identities=states, report="the report")
    assert summary.judged(found, DAY, first=True) == []
    found = replace(found, witness=summary.NOT_COMPARED)
    (problem,) = summary.judged(found, DAY, first=True)
    assert problem.startswith("the bars of 2026-04-13 were not compared")
    assert summary.judged(found, DAY, first=False) == []


def test_docs_are_not_made_of_a_neighbours_warehouse(layout: Layout) -> None:
    with pytest.raises(LocalError, match=r"does not run. Start it: tidemark up$"):
        stack.docs(layout.settings)


def test_who_answers_in_its_place_is_no_start(tmp_path: Path) -> None:
    """The server that was started has ended, because another one took its port at that moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = "import sys; sys.exit('address in use')"
        mine = process.Program("mine", [sys.executable, "-c", code], tmp_path, tmp_path / "log", tmp_path / "pid")
        process.start(mine)
        assert process.ended(mine.pid_file, 20)
        with pytest.raises(LocalError, match=r"(?s)mine ended while starting.*address in use"):
            process.wait_until(
                "mine", lambda: process.port_open(port), timeout_s=5, pid_file=mine.pid_file, log=mine.log
            )
