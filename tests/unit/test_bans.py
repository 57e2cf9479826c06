"""What a machine remembers of a ban, and whom it believes."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tidemark import bans
from tidemark.bans import LONGEST_S, SLACK_S, Ban

NOW = 1_800_000_000.0
HOST = "https://exchange.example"


class Clock:
    """Unix time that stands until a test moves it."""

    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


def ban(folder: Path | None, clock: Clock, origin: str = HOST, exchange: str = "somewhere") -> Ban:
    """A ban as another process of the machine would see it: an object of its own."""
    return Ban(exchange, origin, folder, clock=clock)


def note_of(folder: Path) -> Path:
    """The one note that was written."""
    [path] = folder.glob("ban-*.json")
    return path


def test_every_process_of_the_machine_knows_until_when(folder: Path, clock: Clock) -> None:
    ban(folder, clock).begin(NOW + 720, "418 too many")
    other = ban(folder, clock)
    assert other.until == NOW + 720
    note = other.note()
    assert note is not None
    assert note.said == "418 too many"
    clock.now += 719
    assert other.left_s == pytest.approx(1)
    clock.now += 1
    assert (other.until, other.left_s) == (0.0, 0.0)


def test_hosts_and_exchanges_are_told_apart_sockets_and_rest_of_a_host_are_not(folder: Path, clock: Clock) -> None:
    ban(folder, clock).begin(NOW + 60, "")
    assert ban(folder, clock, "wss://exchange.example").until
    assert not ban(folder, clock, "https://other.example").until
    assert not ban(folder, clock, "https://exchange.example:8443").until
    assert not ban(folder, clock, exchange="elsewhere").until


def test_without_a_directory_the_process_knows_alone(clock: Clock) -> None:
    mine = ban(None, clock)
    mine.begin(NOW + 60, "")
    assert mine.left_s == 60
    assert not ban(None, clock).until


def test_an_end_that_is_not_named_grows_until_an_answer_comes(folder: Path, clock: Clock) -> None:
    lengths = []
    for _ in range(4):
        note = ban(folder, clock).begin(None, "")
        lengths.append(note.until - clock.now)
        clock.now = note.until + 1
    assert lengths == [150, 300, 600, 1200]
    ban(folder, clock).lift()
    assert list(folder.glob("ban-*")) == []
    assert ban(folder, clock).begin(None, "").until == clock.now + 150


def test_an_answer_during_a_ban_lifts_nothing(folder: Path, clock: Clock) -> None:
    ban(folder, clock).begin(NOW + 60, "")
    ban(folder, clock).lift()
    assert ban(folder, clock).until == NOW + 60


def test_the_later_end_counts_and_a_past_one_is_no_end(folder: Path, clock: Clock) -> None:
    ban(folder, clock).begin(NOW + 600, "")
    ban(folder, clock).begin(NOW + 60, "")
    assert ban(folder, clock).until == NOW + 600
    assert ban(None, clock).begin(NOW - 1, "").until == NOW + 150


def test_no_end_beyond_the_longest_ban_is_believed(folder: Path, clock: Clock) -> None:
    assert ban(folder, clock).begin(NOW + 365 * 86_400, "").until == NOW + LONGEST_S
    path = note_of(folder)
    path.write_text(json.dumps({"until": NOW + LONGEST_S + SLACK_S + 1, "times": 1, "said": ""}))
    assert ban(folder, clock).until == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"until": "soon", "times": 1, "said": ""}', b'{"until": NaN, "times": 1, "said": ""}',
     b'{"until": 1e999, "times": 1, "said": ""}', b'{"until": -5, "times": 1, "said": ""}', b"\xff\xfe",
     b"[" * 100_000],
)  # fmt: skip
def test_a_damaged_note_is_no_ban(folder: Path, clock: Clock, content: bytes) -> None:
    ban(folder, clock).begin(NOW + 60, "")
    note_of(folder).write_bytes(content)
    other = ban(folder, clock)
    assert other.until == 0
    other.begin(NOW + 90, "")
    assert ban(folder, clock).until == NOW + 90, "and it is written over"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_note_of_another_user_is_no_ban(folder: Path, clock: Clock) -> None:
    ban(folder, clock).begin(NOW + 60, "")
    os.chown(note_of(folder), 54_321, 54_321)
    assert ban(folder, clock).until == 0


def test_a_directory_that_everybody_may_write_to_is_not_used(folder: Path, clock: Clock) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    mine = ban(folder, clock)
    mine.begin(NOW + 60, "")
    assert mine.left_s == 60, "the process itself knows"
    assert list(folder.glob("ban-*")) == []


def test_a_link_in_place_of_a_note_is_not_followed(folder: Path, clock: Clock, tmp_path: Path) -> None:
    ban(folder, clock).begin(NOW + 60, "")
    path = note_of(folder)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert ban(folder, clock).until == 0


def test_only_the_user_can_read_and_write_it(folder: Path, clock: Clock) -> None:
    ban(folder, clock).begin(NOW + 60, "")
    assert folder.stat().st_mode & 0o077 == 0
    assert note_of(folder).stat().st_mode & 0o077 == 0
    assert not list(folder.glob("*.new"))


def test_many_writers_leave_the_latest_end(folder: Path, clock: Clock) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: ban(folder, clock).begin(NOW + 60 + n, ""), range(40)))
    assert ban(folder, clock).until == NOW + 99
    note = ban(folder, clock).note()
    assert note is not None
    assert note.times == 40


def test_the_directory_is_the_setting_else_one_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert bans.directory(str(tmp_path)) == tmp_path
    assert bans.directory().name == f"tidemark-{os.geteuid()}"
