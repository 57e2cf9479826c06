"""Stores to test against: a local directory, our double of Google Cloud Storage, and the Go one where installed."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from tests.gcs_double import GcsDouble
from tidemark.lake.gcs import GcsStore
from tidemark.lake.local import LocalStore
from tidemark.lake.store import ObjectStore
from tidemark.local import process

#: Opens a further, independent client of the same store.
Opener = Callable[[], ObjectStore]


@pytest.fixture
def gcs() -> Iterator[GcsDouble]:
    """Our double, this test's own."""
    with GcsDouble() as double:
        yield double


@pytest.fixture(params=["local", "double", "fake-gcs-server"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """A function that opens one more client of this test's store; every kind of store in turn."""
    if request.param == "local":
        return lambda: LocalStore(tmp_path / "lake")
    if request.param == "double":
        endpoint = request.getfixturevalue("gcs").endpoint
    else:
        endpoint = request.getfixturevalue("fake_gcs_server")
    return lambda: GcsStore("lake", f"a/{tmp_path.name}", endpoint=endpoint)


@pytest.fixture(scope="session")
def fake_gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """fsouza/fake-gcs-server with the bucket ``lake``, where it is on the PATH or in ~/go/bin."""
    program = shutil.which("fake-gcs-server") or shutil.which("fake-gcs-server", path=str(Path.home() / "go" / "bin"))
    if program is None:
        pytest.skip("fake-gcs-server is not installed")
    port = process.free_port()
    data = tmp_path_factory.mktemp("fake-gcs")
    (data / "lake").mkdir()
    options = f"-scheme http -host 127.0.0.1 -port {port} -backend memory -public-host 127.0.0.1:{port} -data {data}"
    with subprocess.Popen([program, *re.split(" ", options)], stderr=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + 20
        while not process.port_open(port) and time.monotonic() < deadline:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        server.terminate()


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """Random runs write thousands of log lines that nobody reads."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)
