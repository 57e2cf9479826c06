"""Whether a producer can do its work: what it says of itself, figure by figure."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from streaming.producer.counts import Counts
from streaming.producer.readiness import Readiness


class Scene:
    """A producer of two exchanges that both deliver; its clock stands still unless told."""

    def __init__(self) -> None:
        self.at = 100.0
        self.counts = Counts()
        self.broker: Any = SimpleNamespace(in_flight=0, delivered=0, fill=0.0)
        self.gate: Any = SimpleNamespace(held=False)
        self.readiness = Readiness(["a", "b"], "broker:9092", self.counts, self.broker, self.gate, lambda: self.at)
        self.readiness.broker_found = True
        for name in ("a", "b"):
            self.counts[name].planned, self.counts[name].opened = 2, 2
            self.counts[name].newest_ns = time.time_ns()

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.at += 1.0
            self.readiness.turn()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_all_is_well(scene: Scene) -> None:
    scene.pass_time(100)
    report = scene.readiness.report()
    assert (report.failing, report.degraded) == ({}, {})


def test_no_broker_yet(scene: Scene) -> None:
    scene.readiness.broker_found = False
    assert scene.readiness.report().failing == {"broker": "no answer from broker:9092 yet, or topics are missing"}


def test_a_broker_that_confirms_nothing(scene: Scene) -> None:
    scene.broker.in_flight = 500
    scene.pass_time(9)
    assert scene.readiness.report().failing == {}
    scene.pass_time(5)
    assert scene.readiness.report().failing == {"broker": "nothing was confirmed for 14 s, 500 records wait"}
    scene.broker.delivered = 1
    scene.pass_time(1)
    assert scene.readiness.report().failing == {}


def test_a_broker_without_work_is_well(scene: Scene) -> None:
    scene.pass_time(3_600)
    assert scene.readiness.report().failing == {}


def test_sockets_that_are_left_unread(scene: Scene) -> None:
    scene.gate.held = True
    scene.pass_time(15)
    assert scene.readiness.report().failing == {"paused": "sockets are left unread for 15 s"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"planned": 0}, "the list of markets is not known"),
        ({"closed": 2}, "none of 2 connections is open"),
        ({"newest_ns": 0}, "nothing has come yet"),
        ({"newest_ns": time.time_ns() - 90 * 10**9}, "nothing has come for "),
    ],
)
def test_an_exchange_that_does_not_deliver(scene: Scene, changes: dict[str, int], why: str) -> None:
    for name, value in changes.items():
        setattr(scene.counts["b"], name, value)
    report = scene.readiness.report()
    assert list(report.failing) == ["b"]
    assert why in report.failing["b"]


def test_one_that_the_breaker_has_judged_is_said_and_the_others_work(scene: Scene) -> None:
    scene.counts["b"].breaker = "open"
    report = scene.readiness.report()
    assert report.failing == {}
    assert "breaker is open" in report.degraded["b"]


def test_when_none_delivers_a_breaker_is_no_excuse(scene: Scene) -> None:
    scene.counts["a"].breaker = scene.counts["b"].breaker = "open"
    assert set(scene.readiness.report().failing) == {"a", "b"}


def test_silence_while_sockets_are_unread_is_not_the_exchanges(scene: Scene) -> None:
    scene.gate.held = True
    scene.counts["a"].newest_ns = time.time_ns() - 90 * 10**9
    assert scene.readiness.report().failing == {}


def test_codes_that_are_left_out_are_named_and_keep_nobody_from_working(scene: Scene) -> None:
    scene.counts["b"].unreadable_codes = {"X-Y-Z": "bad_code: not of the form", "": "missing_code"}
    report = scene.readiness.report()
    assert (report.failing, report.degraded) == ({}, {})
    named = "2 codes cannot be read, first X-Y-Z: bad_code: not of the form"
    assert report.facts["unreadable_codes"] == {"b": named}
    scene.counts["b"].planned = 0
    assert scene.readiness.report().failing == {"b": f"no connection is planned: {named}"}
