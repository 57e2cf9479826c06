"""dbt for the local stack: the documentation of the marts.

Lives here: calling dbt. Doesn't: models (``dbt/``), building them (the DAGs do).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tidemark.local import process
from tidemark.local.process import LocalError
from tidemark.settings import PROJECT_ROOT, WarehouseSettings
from tidemark.warehouse.connection import dbt_environment

PROJECT = PROJECT_ROOT / "dbt"
_TIMEOUT_S = 300


def write_docs(warehouse: WarehouseSettings, target: Path, page: Path, log: Path) -> None:
    """Write the documentation as one file, ``page``, that needs no network; ``target`` is a folder for dbt.

    Raises:
        LocalError: dbt fails, for example because the warehouse can't be reached.
    """
    _dbt(["docs", "generate", "--static", "--target-path", str(target)], warehouse, log)
    page.parent.mkdir(parents=True, exist_ok=True)
    temporary = page.with_suffix(".new")
    shutil.copyfile(target / "static_index.html", temporary)
    temporary.replace(page)


def _dbt(arguments: list[str], warehouse: WarehouseSettings, log: Path) -> None:
    command = [sys.executable, "-m", "dbt.cli.main", "--no-use-colors", "--log-path", str(log.parent / "dbt")]
    folders = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    variables = {**dbt_environment(warehouse), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        done = subprocess.run(
            [*command, *arguments, *folders], cwd=log.parent, env=process.environment(variables),
            stdout=output, stderr=subprocess.STDOUT, timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
    if done.returncode:
        raise LocalError(f"dbt {' '.join(arguments[:2])} failed; its log {log} ends with:\n{process.tail(log)}")
