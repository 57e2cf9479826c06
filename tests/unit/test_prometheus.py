"""The rules for alerts: they are well-formed, tested, name what workers export, and say what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.streaming.everything import everything
from tidemark.local.children import producer_settings
from tidemark.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "infra" / "prometheus"
#: PromQL words and functions that rules may use beside metrics and labels.
_LABELS = {"job", "instance", "exchange", "dataset", "topic", "reason", "le"}


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "rules.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def exported() -> dict[str, set[str]]:
    """Every sample's name that workers export, with its labels."""
    found: dict[str, set[str]] = {}
    for collector in everything():
        for family in collector.collect():
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("no promtool here")
    return subprocess.run([tool, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=120)


def test_promtool_finds_no_fault() -> None:
    for what, file in (("rules", "rules.yml"), ("config", "prometheus.yml")):
        done = promtool("check", what, file)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_when_it_should_and_not_before() -> None:
    done = promtool("test", "rules", "rules_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_tests_that_it_fires_and_that_it_does_not() -> None:
    tests = yaml.safe_load((FOLDER / "rules_test.yml").read_text("utf-8"))["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    names = {rule["alert"] for rule in alerts()}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


def test_rules_name_only_what_workers_export() -> None:
    known = exported()
    for rule in alerts():
        names = set(re.findall(r"\btidemark_\w+", rule["expr"]))
        assert names <= known.keys(), rule["alert"]
        assert names or rule["expr"].startswith("up{"), rule["alert"]


def test_rules_group_by_labels_that_their_metrics_have() -> None:
    known = exported()
    for rule in alerts():
        names = re.findall(r"\btidemark_\w+", rule["expr"])
        available = set.union({"job", "instance"}, *(known[name] for name in names))
        named = {label for group in re.findall(r"\bby \(([^)]*)\)", rule["expr"]) for label in group.split(", ")}
        named |= set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert named <= available & _LABELS, rule["alert"]


def test_every_alert_says_how_grave_it_is_and_what_to_do() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]
        runbook = ROOT / rule["annotations"]["runbook"]
        assert runbook.is_file(), rule["alert"]
        assert rule["alert"] in runbook.read_text("utf-8"), f"{runbook.name} does not name {rule['alert']}"


def test_names_follow_the_conventions() -> None:
    for collector in everything():
        for family in collector.collect():
            assert re.fullmatch(r"tidemark_(producer|sink)_[a-z_]+", family.name), family.name
            assert family.documentation.endswith("."), family.name
            assert not family.name.endswith("_total"), family.name
            if family.type == "histogram":
                assert family.name.endswith("_seconds"), family.name
            assert not re.search(r"_(ms|milliseconds|kb|mb|percent)\b", family.name), family.name


def test_prometheus_asks_where_workers_listen() -> None:
    scraped = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    targets = {one["job_name"]: one["static_configs"][0]["targets"] for one in scraped}
    settings = Settings()
    host = settings.monitor.host
    ports = [producer_settings(settings, name).producer.metrics_port for name in settings.exchanges]
    assert len(set(ports)) == len(ports) == 3
    assert targets == {
        "tidemark-producer": [f"{host}:{port}" for port in ports],
        "tidemark-sink": [f"{host}:{settings.sink.metrics_port}"],
    }
