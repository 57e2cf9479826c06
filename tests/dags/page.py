"""The page about the DAGs, made from the DAGs: ``python -m tests.dags.page``.

Lives here: rendering ``docs/architecture/dags.md``. Doesn't: parsing (``project``); a test holds the page to it.
"""

from __future__ import annotations

import sys
from typing import Any

from tests.dags.project import DAGS, ROOT, parse

PAGE = ROOT / "docs" / "architecture" / "dags.md"
_HEAD = """# The DAGs

Written by `python -m tests.dags.page` from the DAGs themselves; a test holds this page to them. Times are UTC unless a
zone is named. Every DAG runs once at a time and never catches up. A task is tried again three times with growing
pauses, and not at all where the next try would meet the same (a wrong token, a schema, a market that does not exist);
when it fails for good, Slack reports it. Slack also reports a run that is not over in time
([a DAG is late](../runbooks/dag-late.md)).

**By hand.** `make up` leaves no DAG paused. Elsewhere Airflow pauses new DAGs, all but the backfill: a run of a paused
DAG stays queued until the DAG is switched on. The form refuses what its schema knows to be wrong when a run is
triggered. The rest fails in the first task, at once and without retries; the first line of the failure is the reason.
A run by hand with an empty window is about the last whole period before it was triggered. A dry run checks what a real
run checks, changes nothing and succeeds; the list of the run's tasks shows its result (column *Map Index*), and each
task's *XCom* has all of it as `summary`. Airflow's own *Backfill* makes a run for each interval: useful for
`gold__daily_report` and the fetches with a window, and not for loads and builds, which take what is new.

## Who wakes whom

A DAG that has brought something says so through an asset; who waits for it starts then, and by the clock in any case.

```mermaid
flowchart LR
{edges}
```

## All of them

{table}

"""


def page() -> str:
    """The page as it must stand."""
    dags = parse(DAGS, hash_seed="1")["dags"]
    found = {dag_id: _plain(dag["dag"]) for dag_id, dag in sorted(dags.items())}
    rows = [_row(dag_id, dag) for dag_id, dag in found.items()]
    parts = [_HEAD.format(edges=_edges(found), table=_table(("DAG", "runs", "late after", "tasks", "form"), rows))]
    parts += [_section(dag_id, dag) for dag_id, dag in found.items()]
    return "\n".join(parts).rstrip() + "\n"


def _plain(value: Any) -> Any:
    """Serialised values without their type tags."""
    if isinstance(value, dict):
        if "__var" in value:
            return _plain(value["__var"])
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _row(dag_id: str, dag: dict[str, Any]) -> tuple[str, ...]:
    tasks = [task["task_id"] for task in dag["tasks"]]
    shown = ", ".join(f"`{name}`" for name in tasks[:4]) + (f" and {len(tasks) - 4} more" if len(tasks) > 4 else "")
    form = ", ".join(f"`{name}`" for name, _ in dag.get("params") or []) or "none"
    return f"[`{dag_id}`](#{dag_id})", _schedule(dag["timetable"]), _late(dag.get("deadline")), shown, form


def _late(deadlines: Any) -> str:
    return ", ".join(f"{one['interval']['__data__'] / 60:g} minutes" for one in deadlines or []) or "–"


def _schedule(timetable: dict[str, Any]) -> str:
    if "expression" in timetable:
        zone = timetable.get("timezone", "UTC")
        return f"`{timetable['expression']}`" + ("" if zone == "UTC" else f" {zone}")
    if "timetable" in timetable:
        return f"{_schedule(timetable['timetable'])}, and when {_names(timetable['asset_condition'])} has changed"
    return "by hand"


def _names(condition: dict[str, Any]) -> str:
    if "objects" in condition:
        return " and ".join(_names(one) for one in condition["objects"])
    return f"`{condition['name']}`"


def _assets(condition: Any) -> list[str]:
    if not isinstance(condition, dict):
        return []
    if "objects" in condition:
        return [name for one in condition["objects"] for name in _assets(one)]
    return [condition["name"]] if "name" in condition else []


def _edges(dags: dict[str, dict[str, Any]]) -> str:
    lines = set()
    for dag_id, dag in dags.items():
        for task in dag["tasks"]:
            lines |= {
                f"  {dag_id} --> {_node(asset['name'])}" for asset in task.get("outlets") or [] if "name" in asset
            }
        lines |= {f"  {_node(name)} --> {dag_id}" for name in _assets(dag["timetable"].get("asset_condition"))}
    return "\n".join(sorted(lines))


def _node(asset: str) -> str:
    return f"{asset.replace('.', '_')}_asset([{asset}])"


def _section(dag_id: str, dag: dict[str, Any]) -> str:
    return f"## {dag_id}\n\n{dag['doc_md'].strip()}\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    told = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([told[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *told[1:]])


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} written\n")
