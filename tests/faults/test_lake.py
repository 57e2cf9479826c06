"""A lake that refuses, breaks off, hangs, lies or is full: it is asked again, and the chain is whole afterwards."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.faults.conftest import Stages
from tests.faults.proof import prove, rows_loaded
from tests.faults.small_disk import small_disk
from tests.faults.stage import Stage, until
from tests.gcs_double import Fault, GcsDouble
from tidemark.lake.store import StoreUnavailableError
from tidemark.local.kafka import KafkaServer
from tidemark.settings import LakeSettings

UPLOAD, LISTING, DOWNLOAD = ("POST", "uploadType"), ("GET", "prefix"), ("GET", "alt=media")
FAULTS = {
    "429 at an upload": Fault("status", *UPLOAD, status=429, times=2),
    "503 at an upload": Fault("status", *UPLOAD, status=503, times=2),
    "507 at an upload": Fault("status", *UPLOAD, status=507, times=2),
    "upload reset": Fault("reset", *UPLOAD, times=2),
    "upload cut in its middle": Fault("cut", *UPLOAD, times=2),
    "upload done and its answer lost": Fault("lost", *UPLOAD),
    "upload with a wrong byte": Fault("corrupt", *UPLOAD, times=2),
    "429 at a listing": Fault("status", *LISTING, status=429, times=2),
    "listing reset": Fault("reset", *LISTING, times=2),
    "listing broken off": Fault("truncated", *LISTING, times=2),
    "download broken off": Fault("truncated", *DOWNLOAD, times=2),
    "503 at a download": Fault("status", *DOWNLOAD, times=2),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_store_misbehaves(on_gcs: Stage, gcs: GcsDouble, fault: Fault) -> None:
    """The object store refuses, breaks off or loses a request → it is asked again; the object is there once."""
    stage = on_gcs
    stage.publish(stage.feed.trades(600))
    sink = stage.sink(rotate_rows=200)
    stage.landed(600)
    assert sink.drained() == 0
    gcs.plant(Fault(fault.kind, fault.method, fault.match, fault.status, fault.times))
    stage.publish(stage.feed.trades(600))
    stage.sink(rotate_rows=150)
    stage.landed(1_200)
    assert gcs.unspent == []
    assert prove(stage).missing == ()


def test_load_gets_a_wrong_byte(on_gcs: Stage, gcs: GcsDouble) -> None:
    """A byte of an object is another one when the load reads it → the load reads it again; what it brings is right."""
    stage = on_gcs
    stage.publish(stage.feed.trades(300))
    stage.sink(rotate_rows=300)
    stage.landed(300)
    gcs.plant(Fault("corrupt", *DOWNLOAD, times=1))
    with contextlib.suppress(StoreUnavailableError):
        stage.load("trade")
    assert gcs.unspent == []
    assert prove(stage).missing == ()
    assert rows_loaded(stage) == 300


@pytest.mark.parametrize("kind", ["hang", "hang_after"], ids=["before it is done", "after it is done"])
def test_sink_killed_while_the_store_hangs(on_gcs: Stage, gcs: GcsDouble, kind: str) -> None:
    """An upload hangs and the sink is killed → the next one writes the object, or finds it and goes on behind it."""
    stage = on_gcs
    stage.publish(stage.feed.trades(500))
    sink = stage.sink(rotate_rows=200)
    stage.landed(500)
    gcs.plant(Fault(kind, *UPLOAD))
    stage.publish(stage.feed.trades(500))
    until(lambda: gcs.hanging == 1)
    sink.kill()
    stage.sink(rotate_rows=130)
    stage.landed(1_000)
    assert prove(stage).missing == ()


def test_zombie_in_the_middle_of_an_upload(on_gcs: Stage) -> None:
    """A sink stands still just before its upload, another takes the partition over and writes other portions, the
    first one goes on → its upload is refused (412), it adopts what is there, nothing is there twice."""
    stage = on_gcs
    stage.publish(stage.feed.trades(300))
    zombie = stage.sink(at="before_upload", on=2, sign="SIGSTOP", rotate_rows=200)
    zombie.stopped()
    heir = stage.sink(rotate_rows=77)
    stage.landed(300)
    zombie.resume()
    stage.publish(stage.feed.trades(300))
    stage.landed(600)
    until(lambda: bool(zombie.said("another writer was faster") or zombie.said("revoked")))
    assert heir.alive
    assert prove(stage).missing == ()


def test_rights_are_taken_away(on_gcs: Stage, gcs: GcsDouble) -> None:
    """The bucket refuses writes for good (403) → the sink ends with 2 and says what to look at; with the rights back a
    new one goes on."""
    stage = on_gcs
    gcs.plant(Fault("status", *UPLOAD, status=403, times=1_000))
    stage.publish(stage.feed.trades(100))
    sink = stage.sink()
    assert sink.ended() == 2
    assert "check the role's rights" in sink.said("sink stops")[0]["error"]
    gcs.unspent[0].times = 0
    assert prove(stage).missing == ()


@pytest.mark.quick_fault
@pytest.mark.parametrize("how", ["full", "read-only"])
def test_lake_on_a_disk_that_is(stages: Stages, broker: KafkaServer, tmp_path: Path, how: str) -> None:
    """The disk under a local lake is full or read-only → the sink waits and says why, streaming goes on, and all of it
    lands once there is room."""
    with small_disk(tmp_path / "disk", 8) as disk:
        stage = stages(broker.bootstrap, LakeSettings(url=f"file://{disk.path}/lake"))
        stage.producer()
        sink = stage.sink()
        stage.feed.send(300)
        stage.landed(300)
        if how == "full":
            disk.fill()
        else:
            disk.read_only(True)
        stage.feed.send(500)
        said = sink.until_said("waiting")
        assert "check disk and rights" in said["reason"]
        assert stage.end() == 299
        disk.empty() if how == "full" else disk.read_only(False)
        stage.landed(800)
        assert prove(stage).missing == ()
