"""``kill -9`` and worse, at every point of a sink's work: the next one makes the same chain."""

from __future__ import annotations

import pytest

from tests.faults.proof import prove
from tests.faults.stage import Stage

POINTS = ("before_upload", "mid_upload", "after_upload", "after_commit")


@pytest.mark.parametrize("point", POINTS)
def test_sink_killed(stage: Stage, point: str) -> None:
    """A sink is killed before, during or after an upload, or after its commit → the next goes on, no frame twice."""
    stage.producer()
    sink = stage.sink(at=point, on=3)
    with stage.feed.flowing():
        sink.killed()
        stage.sink()
        stage.landed(len(stage.feed.sent) + 200)
    stage.feed.all_read(120)
    proof = prove(stage)
    assert proof.missing == ()
    assert proof.landed > 500
