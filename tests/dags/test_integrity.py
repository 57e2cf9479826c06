"""Every DAG can be imported, and keeps the house's rules for DAGs."""

from __future__ import annotations

import ast
import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.dags import page
from tests.dags.project import DAG_IDS, DAGS, PLUGINS, parse
from tidemark.jobs import health
from tidemark.local import day
from tidemark.settings import Settings

dag_ids = pytest.mark.parametrize("dag_id", sorted(DAG_IDS))


def tasks(dag: dict[str, Any]) -> list[dict[str, Any]]:
    """The tasks of a serialised DAG."""
    return [task["__var"] for task in dag["dag"]["tasks"]]


def params(dag: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The Params of a serialised DAG: name to default, description and schema."""
    return dict(dag["dag"]["params"])


def schema(param: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a serialised Param."""
    return plain(param["schema"])


def plain(value: Any) -> Any:
    """A serialised value without Airflow's type marks."""
    if isinstance(value, dict):
        return plain(value["__var"]) if "__var" in value else {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list) else value


def test_every_dag_imports_and_there_is_no_other(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}
    assert set(parsed["dags"]) == DAG_IDS


def test_parsing_imports_nothing_heavy(parsed: dict[str, Any]) -> None:
    assert parsed["heavy"] == []


def test_two_parses_make_the_same_dags(parsed: dict[str, Any]) -> None:
    """Else each parse is a new version of the DAG: Airflow tells versions apart by this hash."""
    again = parse(DAGS, hash_seed="2")
    assert again["versions"] == parsed["versions"]
    assert len(set(parsed["versions"].values())) == len(DAG_IDS)


@dag_ids
def test_the_scheduled_interval_is_not_empty(parsed: dict[str, Any], dag_id: str) -> None:
    if not parsed["runs"][dag_id]:
        assert dag_id == "raw__history__backfill", "only this one is run by people alone"
        return
    (start, end, due), (second_start, _, _) = (
        [datetime.fromisoformat(t) for t in run] for run in parsed["runs"][dag_id]
    )
    assert end - start >= timedelta(minutes=10)
    assert second_start == end, "intervals must follow each other without a hole"
    assert due == end


def test_the_report_is_due_ten_minutes_after_midnight_in_korea(parsed: dict[str, Any]) -> None:
    start, _, due = parsed["runs"]["gold__daily_report"][0]
    assert datetime.fromisoformat(due).strftime("%H:%M%z") == "15:10+0000"
    assert datetime.fromisoformat(start).strftime("%H:%M%z") == "15:10+0000"


@dag_ids
def test_documented(parsed: dict[str, Any], dag_id: str) -> None:
    dag = parsed["dags"][dag_id]["dag"]
    assert len(dag["doc_md"]) > 300
    assert "**By hand:**" in dag["doc_md"]
    assert "fails:**" in dag["doc_md"], "it must say what a failure means"
    assert dag["description"]
    assert "{" not in dag["doc_md"], "a placeholder was not filled in"


@dag_ids
def test_tags_come_from_the_vocabulary(parsed: dict[str, Any], dag_id: str) -> None:
    from tidemark_registry import TAGS

    tags = set(parsed["dags"][dag_id]["dag"]["tags"])
    assert tags <= TAGS
    assert dag_id.split("__")[0] in tags, "the layer is a tag"
    assert Path(parsed["dags"][dag_id]["dag"]["fileloc"]).parent.name == dag_id.split("__")[0], "and the folder"


@dag_ids
def test_one_run_at_a_time_and_no_catching_up(parsed: dict[str, Any], dag_id: str) -> None:
    dag = parsed["dags"][dag_id]["dag"]
    assert dag["max_active_runs"] == 1
    assert dag["catchup"] is False


@dag_ids
def test_every_task_retries_ends_in_time_and_reports_failure(parsed: dict[str, Any], dag_id: str) -> None:
    assert tasks(parsed["dags"][dag_id])
    for task in tasks(parsed["dags"][dag_id]):
        name = task["task_id"]
        assert task["owner"] == "tidemark", name
        assert task["execution_timeout"] > 0, name
        assert task["has_on_failure_callback"] is True, name
        assert task["retry_exponential_backoff"] > 1, name
        assert task["max_retry_delay"] >= task["retry_delay"], name
        assert task.get("retries", 0) == (0 if name == "assert_green" else 3), name


@dag_ids
def test_pools_are_those_the_stack_makes(parsed: dict[str, Any], dag_id: str) -> None:
    from tidemark_registry import POOLS

    assert {t.get("pool", "default_pool") for t in tasks(parsed["dags"][dag_id])} <= {"default_pool", *POOLS}


def required(dag_id: str) -> set[str]:
    """What a person must fill in."""
    return {"window_start", "window_end"} if dag_id == "raw__history__backfill" else set()


#: What a person may write into a form, and whether the form takes it.
WRITTEN = [
    ("window_start", "2026-04-13T00:00:00Z", True),
    ("window_start", "2026-04-13T09:00:00+09:00", True),
    ("window_start", "2026-04-13T09:00:00.000Z", True),
    ("window_start", "2026-04-13 09:00", True),
    ("window_start", "2026-04-13", True),
    ("window_start", "yesterday", False),
    ("window_start", "13.04.2026", False),
    ("window_start", "2026-13-01T00:00:00Z", False),
    ("window_start", "2026-04-13T24:30:00Z", False),
    ("window_start", 1776038400, False),
    ("codes", ["KRW-BTC", "BTC-KRW"], True),
    ("codes", ["KRW-BTC, KRW-ETH"], False),
    ("codes", ["  "], False),
    ("codes", "KRW-BTC", False),
]


@pytest.mark.parametrize(("name", "value", "taken"), WRITTEN)
def test_the_form_refuses_what_cannot_be_right(parsed: dict[str, Any], name: str, value: Any, taken: bool) -> None:
    """Each form that has this Param; Airflow checks the same schema when a run is triggered."""
    from airflow.sdk import Param
    from airflow.sdk.exceptions import ParamValidationError

    forms = [found[name] for dag in parsed["dags"].values() if name in (found := params(dag))]
    assert len(forms) >= 5
    for form in forms:
        param = Param(schema=schema(form))
        if taken:
            assert param.resolve(value) == value
        else:
            with pytest.raises(ParamValidationError):
                param.resolve(value)


def test_an_empty_form_field_may_be_empty_where_it_says_so(parsed: dict[str, Any]) -> None:
    """A field that must be filled in is refused when a run is triggered, and the form marks it."""
    import jsonschema

    for dag_id, dag in parsed["dags"].items():
        for name, param in params(dag).items():
            if name not in ("window_start", "window_end", "codes", "report_date"):
                continue
            must = name in required(dag_id)
            assert ("Must be filled in" in param["description"]) == must
            assert ("Empty" in param["description"]) != must
            if must:
                with pytest.raises(jsonschema.ValidationError):
                    jsonschema.validate(None, schema(param))
            else:
                jsonschema.validate(None, schema(param))


def test_a_dag_that_only_people_run_is_not_paused(parsed: dict[str, Any]) -> None:
    """A run of a paused DAG is queued for ever, and nothing says so."""
    by_hand = {name for name, runs in parsed["runs"].items() if not runs}
    assert by_hand == {"raw__history__backfill"}
    for name in by_hand:
        assert parsed["dags"][name]["dag"]["is_paused_upon_creation"] is False
    assert by_hand <= set(day.dags(Settings()))


@dag_ids
def test_the_form_explains_each_param(parsed: dict[str, Any], dag_id: str) -> None:
    import jsonschema

    found = params(parsed["dags"][dag_id])
    assert schema(found["dry_run"])["type"] == "boolean"
    for name, param in found.items():
        assert param["description"], name
        assert schema(param)["title"], name
        assert schema(param)["type"], name
        if name not in required(dag_id):
            jsonschema.validate(param["default"], schema(param))


@pytest.mark.parametrize(
    ("dag_id", "names"),
    [
        ("raw__trade__load", {"exchange", "dry_run"}),
        ("raw__candle__fetch", {"exchange", "window_start", "window_end", "interval", "codes", "dry_run"}),
        ("raw__trade__fetch", {"exchange", "window_start", "window_end", "codes", "dry_run"}),
        ("raw__history__repair", {"exchange", "dataset", "codes", "window_start", "window_end", "dry_run"}),
        (
            "raw__history__backfill",
            {"exchange", "dataset", "codes", "window_start", "window_end", "interval", "dry_run"},
        ),
        ("raw__dead_letter__reprocess", {"exchange", "dataset", "dry_run"}),
        ("raw__lake__compact", {"window_start", "window_end", "dataset", "dry_run"}),
        ("ops__completeness__check", {"window_start", "window_end", "exchange", "dry_run"}),
        ("gold__daily_report", {"report_date", "dry_run"}),
    ],
)
def test_the_form_asks_for(parsed: dict[str, Any], dag_id: str, names: set[str]) -> None:
    found = params(parsed["dags"][dag_id])
    assert set(found) == names
    for name in names & {"window_start", "window_end"}:
        assert schema(found[name])["format"] == "date-time"
        assert found[name]["default"] is None


def test_choices_are_what_the_platform_knows(parsed: dict[str, Any]) -> None:
    from tidemark.naming import DATASETS
    from tidemark.settings import Settings

    load = params(parsed["dags"]["raw__trade__load"])
    compact = params(parsed["dags"]["raw__lake__compact"])
    assert schema(load["exchange"])["enum"] == ["all", *sorted(Settings().platform.exchanges)]
    assert schema(compact["dataset"])["enum"] == ["all", *DATASETS]


def test_each_load_announces_its_dataset(parsed: dict[str, Any]) -> None:
    from tidemark_registry import carriers

    for dataset in ("trade", "ticker", "orderbook", "depth", "candle", "system"):
        found = tasks(parsed["dags"][f"raw__{dataset}__load"])
        assert len(found) == len(carriers(dataset)) >= 2
        for task in found:
            assert [plain(o)["name"] for o in task["outlets"]] == [f"raw.{dataset}"]


def test_each_exchange_has_a_task_of_its_own(parsed: dict[str, Any]) -> None:
    """One that is down holds up no other."""
    from tidemark.settings import Settings

    carried = sorted(Settings().platform.exchanges)
    for dag_id, verb in (("raw__history__repair", "repair"), ("raw__dead_letter__reprocess", "reprocess")):
        assert [t["task_id"] for t in tasks(parsed["dags"][dag_id])] == [f"{verb}__{name}" for name in carried]


def test_dags_follow_what_the_exchanges_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all three carried, each dataset's DAG has a task for each exchange that has it, and for no other."""
    from tidemark.exchanges import registry

    names = sorted(registry.EXCHANGES)
    monkeypatch.setenv("TIDEMARK_PLATFORM__EXCHANGES", json.dumps(names))
    found = parse(DAGS, hash_seed="1")
    assert found["errors"] == {}
    for dataset in ("trade", "ticker", "orderbook", "depth", "candle", "system"):
        have = [name for name in names if dataset in registry.get(name).datasets]
        dag = found["dags"].get(f"raw__{dataset}__load")
        assert [t["task_id"] for t in tasks(dag)] == [f"load__{name}" for name in have] if have else dag is None
        if dataset in ("trade", "candle", "ticker"):
            fetched = {t["task_id"] for t in tasks(found["dags"][f"raw__{dataset}__fetch"])}
            assert {f"fetch__{name}" for name in have} <= fetched
    assert len(tasks(found["dags"]["raw__market__fetch"])) == 2 * len(names)


def test_the_page_about_the_dags_is_of_these_dags() -> None:
    assert page.PAGE.read_text("utf-8") == page.page(), "write it again: python -m tests.dags.page"


def test_health_asks_every_question(parsed: dict[str, Any]) -> None:
    asked = [t["task_id"] for t in tasks(parsed["dags"]["ops__platform__health"])]
    assert sorted(asked) == sorted(health.QUESTIONS)


def test_silver_and_gold_are_one_dbt_build_each(parsed: dict[str, Any]) -> None:
    for dag_id in ("silver__build", "gold__build"):
        found = {t["task_id"]: t for t in tasks(parsed["dags"][dag_id])}
        gate = {"check_new_rows", "gates_are_open"} if dag_id == "silver__build" else set()
        assert found.keys() == {"build", "announce"} | gate
        assert found["build"]["pool"] == "dbt"
        assert found["build"]["downstream_task_ids"] == ["announce"]


def test_airflow_is_imported_through_its_sdk_only() -> None:
    allowed = ("airflow.sdk", "airflow.providers")
    bad = [
        (path.name, name)
        for path, tree in sources()
        for name in _imports(tree)
        if name.split(".")[0] == "airflow" and not name.startswith(allowed)
    ]
    assert bad == []


def test_work_is_imported_inside_tasks_only() -> None:
    light = ("tidemark.naming", "tidemark.settings", "tidemark.exchanges")
    bad = [
        (path.name, name)
        for path, tree in sources()
        for node in tree.body
        for name in _imports(node)
        if isinstance(node, ast.Import | ast.ImportFrom)
        if name.split(".")[0] in {"tidemark", "alerts", "streaming", "serving"} and not name.startswith(light)
    ]
    assert bad == []


def test_plugins_are_left_alone_by_the_plugin_loader() -> None:
    """It would run each file again and register it by its bare name, over any module of that name."""
    from airflow.sdk._shared.plugins_manager.plugins_manager import (
        _load_plugins_from_plugin_directory as load,
    )

    loaded, errors = load(str(PLUGINS), load_examples=False, ignore_file_syntax="glob")
    assert loaded == []
    assert errors == {}
    assert all(p.stem.startswith("tidemark_") for p in PLUGINS.glob("*.py"))
    assert not {p.stem for p in PLUGINS.glob("*.py")} & set(sys.stdlib_module_names)


def sources() -> list[tuple[Path, ast.Module]]:
    """Every DAG file and plugin module, parsed."""
    files = sorted([*DAGS.rglob("*.py"), *PLUGINS.glob("*.py")])
    assert len(files) > 8
    return [(path, ast.parse(path.read_text("utf-8"))) for path in files]


def _imports(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found
