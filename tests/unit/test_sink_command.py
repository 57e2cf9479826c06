"""The sink's command line: chosen topics are read in a group of their own."""

from __future__ import annotations

from streaming.consumer.__main__ import _of_their_own
from tidemark.settings import Settings


def test_chosen_topics_are_not_shared_with_the_platforms_sinks() -> None:
    settings = Settings()
    assert _of_their_own(settings, []) is settings
    chosen = _of_their_own(settings, ["replay.r.raw.upbit.trade.v1"])
    assert chosen.sink.group == f"{settings.sink.group}.replay.r.raw.upbit.trade.v1"
    assert chosen.sink.rotate_rows == settings.sink.rotate_rows
