"""Every store keeps the same promises: created once, listed in order, read whole or in part."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tests.gcs_double import Fault, GcsDouble
from tests.unit.lake.conftest import Opener
from tidemark.lake import store as stores
from tidemark.lake.gcs import GcsStore
from tidemark.lake.local import LocalStore
from tidemark.lake.store import ObjectMissingError, StoreUnavailableError, open_store
from tidemark.settings import LakeSettings

MB = 1024 * 1024


def test_an_object_is_created_once_and_never_changed(opener: Opener) -> None:
    store = opener()
    assert store.put_new("landing/t/1.parquet", b"first")
    assert not store.put_new("landing/t/1.parquet", b"second")
    assert not opener().put_new("landing/t/1.parquet", b"third")
    assert store.get("landing/t/1.parquet") == b"first"
    assert store.exists("landing/t/1.parquet")


@pytest.mark.parametrize(("size", "racers"), [(100, 16), (9 * MB, 3)])
def test_of_racing_writers_exactly_one_wins(opener: Opener, size: int, racers: int) -> None:
    """9 MB: large enough that Google's client uploads in a resumable session."""
    writers = [opener() for _ in range(racers)]
    for turn in range(5 if size < MB else 1):
        path = f"landing/t/race-{turn}.parquet"
        won: list[int] = []
        line = threading.Barrier(racers)

        def race(number: int, path: str = path, won: list[int] = won, line: threading.Barrier = line) -> None:
            line.wait()
            if writers[number].put_new(path, bytes([number]) * size):
                won.append(number)

        threads = [threading.Thread(target=race, args=(number,)) for number in range(racers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert writers[0].get(path) == bytes(won) * size


def test_parts_can_be_read(opener: Opener) -> None:
    store = opener()
    store.put_new("a/b", b"0123456789")
    assert store.get_range("a/b", 2, 3) == b"234"
    assert store.get_range("a/b", 8, 10) == b"89"
    assert store.get_range("a/b", 10, 5) == b""
    assert store.get_range("a/b", 3, 0) == b""
    assert store.get_tail("a/b", 4) == b"6789"
    assert store.get_tail("a/b", 100) == b"0123456789"


def test_size_and_checksum_are_the_same_in_every_store(opener: Opener) -> None:
    store = opener()
    store.put_new("a/b", b"123456789")
    stat = store.stat("a/b")
    assert (stat.path, stat.size) == ("a/b", 9)
    assert stat.crc32c == stores.crc32c(b"123456789") == "4waSgw=="  # CRC-32C's check value 0xE3069283


def test_what_is_missing_says_so(opener: Opener) -> None:
    store = opener()
    for read in (
        store.get,
        store.stat,
        lambda path: store.get_tail(path, 1),
        lambda path: store.get_range(path, 0, 1),
    ):
        with pytest.raises(ObjectMissingError, match=r"nothing/here\.parquet"):
            read("nothing/here.parquet")
    assert not store.exists("nothing/here.parquet")
    store.delete("nothing/here.parquet")


def test_listings_are_in_byte_order_and_may_start_anywhere(opener: Opener) -> None:
    store = opener()
    paths = ["a-b/1", "a/1", "a/2", "a/b/1", "a/b2", "a0/1", "b", "ab/x"]
    for path in paths:
        store.put_new(path, path.encode())
    ordered = sorted(paths)
    assert [o.path for o in store.list("")] == ordered
    assert [o.path for o in store.list("a/")] == ["a/1", "a/2", "a/b/1", "a/b2"]
    assert [o.path for o in store.list("a/b")] == ["a/b/1", "a/b2"]
    assert [o.path for o in store.list("zz")] == []
    for after in [*ordered, "a/", "a/b/", "a/b/0", "A", "z"]:
        assert [o.path for o in store.list("", start_after=after)] == [p for p in ordered if p > after], after
    assert {o.path: o.size for o in store.list("")} == {p: len(p) for p in paths}


def test_a_deleted_object_can_be_written_anew_under_another_version(opener: Opener) -> None:
    store = opener()
    store.put_new("a/b", b"one")
    (before,) = store.list("a/")
    store.delete("a/b")
    assert list(store.list("a/")) == []
    time.sleep(0.01)
    assert store.put_new("a/b", b"two")
    (after,) = store.list("a/")
    assert before.version != after.version
    assert store.stat("a/b").version == after.version


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/.hidden", "a/", "a\0b"])
def test_a_path_never_leaves_the_lake(opener: Opener, path: str) -> None:
    with pytest.raises(ValueError, match="does not name an object"):
        opener().put_new(path, b"x")


# --- a local directory --------------------------------------------------------------------------------------


def test_a_url_opens_its_store(tmp_path: Path, gcs: GcsDouble) -> None:
    local = open_store(LakeSettings(url=f"file://{tmp_path}/my%20lake"))
    local.put_new("a", b"1")
    assert (tmp_path / "my lake" / "a").read_bytes() == b"1"
    google = open_store(LakeSettings(url="gs://bucket/pre/fix", gcs_endpoint=gcs.endpoint))
    google.put_new("a", b"1")
    assert gcs.object("bucket", "pre/fix/a") == b"1"


def test_a_local_write_is_on_disk_before_it_is_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of system calls: the content is synced before the link, every folder that changed after it."""
    calls: list[str] = []
    names: dict[int, str] = {}
    real_sync, real_link, real_open = os.fsync, os.link, os.open

    def note_open(path: str | Path, flags: int, *more: int) -> int:
        descriptor = real_open(path, flags, *more)
        names[descriptor] = f"folder {Path(path).relative_to(tmp_path)}"
        return descriptor

    monkeypatch.setattr(os, "open", note_open)
    monkeypatch.setattr(os, "fsync", lambda d: (calls.append(f"sync {names.pop(d, 'content')}"), real_sync(d))[1])
    monkeypatch.setattr(os, "link", lambda a, b: (calls.append("link"), real_link(a, b))[1])
    LocalStore(tmp_path / "lake").put_new("x/y/z", b"1")
    assert calls == ["sync content", "sync folder lake/x", "sync folder lake", "link", "sync folder lake/x/y"]


def test_a_local_write_leaves_nothing_else_behind(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put_new("a/b", b"1")
    store.put_new("a/b", b"2")
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == ["a/b"]


def test_what_a_killed_writer_left_is_invisible_and_swept_after_a_day(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    old, young = tmp_path / ".writing" / "old", tmp_path / ".writing" / "young"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    assert list(store.list("")) == []
    os.utime(old, (time.time() - 90_000, time.time() - 90_000))
    LocalStore(tmp_path)
    assert not old.exists()
    assert young.exists()


def test_a_directory_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(stores.StoreError, match="file"):
        LocalStore(tmp_path / "file" / "lake")


# --- Google Cloud Storage with faults -----------------------------------------------------------------------


@pytest.mark.parametrize("size", [1_000, 9 * MB])
@pytest.mark.parametrize("fault", [Fault("status", status=429), Fault("status", status=503), Fault("reset")])
def test_an_upload_survives_faults(gcs: GcsDouble, fault: Fault, size: int) -> None:
    gcs.plant(Fault(fault.kind, "POST", "uploadType", fault.status))
    store = GcsStore("lake", endpoint=gcs.endpoint)
    assert store.put_new("a", b"x" * size)
    assert gcs.object("lake", "a") == b"x" * size
    assert gcs.unspent == []


def test_an_upload_whose_answer_is_lost_is_there_once_and_counts_as_existing(gcs: GcsDouble) -> None:
    gcs.plant(Fault("lost", "POST", "uploadType"))
    store = GcsStore("lake", endpoint=gcs.endpoint)
    assert not store.put_new("a", b"mine")  # the repeated request met its own object
    assert store.get("a") == b"mine"
    assert gcs.unspent == []


@pytest.mark.parametrize("kind", ["truncated", "status", "reset"])
def test_a_read_survives_faults(gcs: GcsDouble, kind: str) -> None:
    store = GcsStore("lake", endpoint=gcs.endpoint)
    data = os.urandom(300_000)
    store.put_new("a", data)
    gcs.plant(Fault(kind, "GET", "alt=media"))
    assert store.get("a") == data
    gcs.plant(Fault(kind, "GET", "alt=media"))
    assert store.get_tail("a", 50_000) == data[-50_000:]
    assert gcs.unspent == []


def test_a_listing_spans_pages_and_survives_faults(gcs: GcsDouble) -> None:
    store = GcsStore("lake", endpoint=gcs.endpoint)
    for number in range(1_005):
        gcs._state.create("lake", f"p/{number:05d}", b"", {}, "")
    gcs.plant(Fault("status", "GET", "pageToken", 503), Fault("reset", "GET", "prefix"))
    assert [o.path for o in store.list("p/", start_after="p/00002")] == [f"p/{n:05d}" for n in range(3, 1_005)]
    assert gcs.unspent == []


def test_a_store_that_stays_away_is_unavailable_and_nothing_was_written(gcs: GcsDouble) -> None:
    gcs.plant(Fault("status", status=503, times=1_000))
    store = GcsStore("lake", endpoint=gcs.endpoint, retry_for_s=0.5)
    for ask in (lambda: store.put_new("a", b"x"), lambda: list(store.list("a")), lambda: store.get("a")):
        with pytest.raises(StoreUnavailableError, match="did not serve"):
            ask()
    assert gcs.object("lake", "a") is None


def test_a_refusal_is_final(gcs: GcsDouble) -> None:
    gcs.plant(Fault("status", status=403))
    with pytest.raises(stores.StoreError, match="rights") as raised:
        GcsStore("lake", endpoint=gcs.endpoint).put_new("a", b"x")
    assert not isinstance(raised.value, StoreUnavailableError)
    assert gcs.unspent == []
