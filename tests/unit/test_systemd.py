"""The systemd units: systemd itself finds no fault, and what they say of the workers is so."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tidemark.lake import gcs
from tidemark.settings import PROJECT_ROOT, Settings

FOLDER = PROJECT_ROOT / "infra" / "systemd"
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
WORKERS = ["tidemark-producer@.service", "tidemark-sink@.service"]


def read(name: str) -> dict[str, list[str]]:
    """Every assignment of a unit, by key."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (FOLDER / name).read_text("utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


def seconds(text: str) -> int:
    """30s, 3min, 1h."""
    match = re.fullmatch(r"(\d+)(s|min|h)", text)
    assert match, text
    return int(match[1]) * {"s": 1, "min": 60, "h": 3600}[match[2]]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with the paths of this machine."""
    for name in UNITS:
        text = (FOLDER / name).read_text("utf-8").replace("/opt/tidemark/.venv/bin/python", sys.executable)
        (tmp_path / name).write_text(text.replace("/opt/tidemark", str(PROJECT_ROOT)))
    return tmp_path


def systemd_analyze(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("no systemd here")
    environment = {"SYSTEMD_UNIT_PATH": f"{folder}:", "PATH": "/usr/bin:/bin"}
    return subprocess.run([tool, *arguments], env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "unit",
    ["tidemark-producer@1.service", "tidemark-sink@2.service", "tidemark-failed@tidemark-sink@2.service.service"],
)
def test_systemd_finds_no_fault(installed: Path, unit: str) -> None:
    done = systemd_analyze(installed, "verify", unit)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS)
def test_little_is_exposed(installed: Path, unit: str) -> None:
    done = systemd_analyze(
        installed, "security", "--offline=true", "--threshold=16", "--no-pager", str(installed / unit)
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_says_when_it_is_ready_is_watched_and_its_end_is_told(name: str) -> None:
    unit = read(name)
    assert unit["Type"] == ["notify"]
    assert unit["Restart"] == ["on-failure"]
    assert unit["RestartPreventExitStatus"] == ["2"]
    assert unit["OnFailure"] == ["tidemark-failed@%n.service"]
    assert int(unit["StartLimitBurst"][0]) * seconds(unit["RestartSec"][0]) < seconds(unit["StartLimitIntervalSec"][0])


def test_the_watchdog_waits_longer_than_any_single_call_of_the_work_loop() -> None:
    sink = seconds(read("tidemark-sink@.service")["WatchdogSec"][0])
    assert sink > gcs._RETRY_FOR_S + gcs._TIMEOUT_S + 35  # a put at its worst, and dead letters before it
    assert seconds(read("tidemark-producer@.service")["WatchdogSec"][0]) >= 30


def test_systemd_waits_for_the_drain() -> None:
    settings = Settings()
    for name, drain_s in zip(WORKERS, (settings.producer.drain_timeout_s, settings.sink.drain_timeout_s), strict=True):
        assert seconds(read(name)["TimeoutStopSec"][0]) >= drain_s + 15


@pytest.mark.parametrize("name", UNITS)
def test_what_a_unit_starts_is_there(name: str) -> None:
    (command,) = read(name)["ExecStart"]
    module = Path(*command.split(" -m ")[1].split()[0].split("."))
    assert (PROJECT_ROOT / module / "__main__.py").exists() or (PROJECT_ROOT / module.with_suffix(".py")).exists()
    for documentation in read(name)["Documentation"]:
        assert (PROJECT_ROOT / documentation.removeprefix("file:///opt/tidemark/")).is_file()


@pytest.mark.parametrize("name", UNITS)
def test_no_secret_is_in_an_environment(name: str) -> None:
    for text in (*read(name)["Environment"], (FOLDER / "tidemark.env.example").read_text("utf-8")):
        assert not re.search(r"TOKEN|PASSWORD|API_KEY", text)


def test_the_example_names_settings_that_there_are() -> None:
    names = re.findall(r"^#?\s*(TIDEMARK_\w+)=", (FOLDER / "tidemark.env.example").read_text("utf-8"), re.MULTILINE)
    example = (PROJECT_ROOT / ".env.example").read_text("utf-8")
    assert names
    assert [name for name in names if f"{name}=" not in example] == []
