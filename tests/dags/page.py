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
pauses, and not at all where the next try would meet the same (a wrong token, a schema, a window that makes no sense);
when it fails for good, Slack says so. A run that is not over so long after it was queued goes on, and Slack is told
([a DAG is late](../runbooks/dag-late.md)).

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
