"""compose.yaml and the Dockerfiles, as far as they can be checked without a container engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tidemark.settings import PlatformSettings

ROOT = Path(__file__).resolve().parents[2]


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def test_compose_names_only_what_it_declares() -> None:
    project = compose()
    for name, service in project["services"].items():
        assert set(service.get("depends_on", {})) <= set(project["services"]), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in project["volumes"] or (ROOT / source).exists(), (name, source)


def test_what_a_worker_is_told_to_run_can_be_run() -> None:
    workers = [s["command"] for s in compose()["services"].values() if s.get("image") == "tidemark-worker"]
    assert len(workers) == 5
    for module, *_ in workers:
        path = ROOT / Path(*module.split("."))
        entry = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        assert path.is_dir() or '__name__ == "__main__"' in entry.read_text("utf-8"), module
        assert entry.exists(), module


def test_the_example_names_every_variable_that_compose_wants() -> None:
    wanted = set(re.findall(r"\$\{(\w+):\?", (ROOT / "compose.yaml").read_text("utf-8")))
    named = set(re.findall(r"^#?(\w+)=", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE))
    assert wanted
    assert wanted <= named


def test_every_published_port_is_on_loopback() -> None:
    ports = [p for s in compose()["services"].values() for p in s.get("ports", [])]
    assert ports
    assert all(p.startswith("127.0.0.1:") for p in ports)


def test_no_secret_is_written_into_compose() -> None:
    text = (ROOT / "compose.yaml").read_text("utf-8")
    lines = [line for line in text.splitlines() if re.search(r"(PASSWORD|TOKEN|API_KEY|SECRET|FERNET_KEY)\w*:", line)]
    assert len(lines) >= 6
    assert all("${" in line for line in lines), lines
    assert not re.search(r"://\w+:[^$@/]+@", text), "a URL holds a password"


def test_images_run_as_nobody_in_particular() -> None:
    for name in ("Dockerfile", "Dockerfile_Worker"):
        users = re.findall(r"^USER (\S+)", (ROOT / name).read_text("utf-8"), re.MULTILINE)
        assert users, name
        assert users[-1] == "10001", name


def test_a_ban_is_remembered_by_all_containers_that_ask_exchanges() -> None:
    """The same directory for all, on a volume that belongs to the user they run as."""
    services = compose()["services"]
    for name, service in services.items():
        if service.get("image") not in ("tidemark", "tidemark-worker"):
            continue
        folder = service["environment"]["TIDEMARK_TRANSPORT__STATE_DIR"]
        assert f"bans:{folder}" in service["volumes"], name
        for image in ("Dockerfile", "Dockerfile_Worker"):
            assert re.search(rf"install -d -o tidemark .*{folder}\b", (ROOT / image).read_text("utf-8")), image


def test_the_worker_image_has_no_airflow_and_no_dbt() -> None:
    lock = (ROOT / "requirements-worker.lock").read_text("utf-8")
    assert "confluent-kafka==" in lock
    assert not re.search(r"^(apache-airflow|dbt-|astronomer)", lock, re.MULTILINE)


def test_locks_are_pinned_by_hash_and_name_no_host() -> None:
    for name in ("requirements.lock", "requirements-worker.lock"):
        text = (ROOT / name).read_text("utf-8")
        pins = re.findall(r"^[a-z0-9][\w.\[\]-]*==", text, re.MULTILINE)
        assert len(pins) > 20
        assert text.count("--hash=sha256:") >= len(pins)
        assert "://" not in text
        assert "--index-url" not in text


def test_there_is_a_producer_for_each_exchange() -> None:
    services = compose()["services"]
    told = {
        s["command"][-1]: s["environment"] for s in services.values() if s.get("command", [""])[0].endswith("producer")
    }
    assert set(told) == set(PlatformSettings().exchanges)
    assert len({env["TIDEMARK_PRODUCER__WORKER"] for env in told.values()}) == len(told)
    assert all("TIDEMARK_KAFKA__BOOTSTRAP_SERVERS" in env for env in told.values())
