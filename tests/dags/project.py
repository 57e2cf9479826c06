"""The project's DAGs as files: where they are, and parsing them in a fresh process.

Lives here: what the DAG tests and the Airflow integration tests share. Doesn't: fixtures (``conftest``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DAGS = ROOT / "airflow" / "dags"
PLUGINS = ROOT / "airflow" / "plugins"
DAG_IDS = frozenset(
    {
        "gold__build",
        "gold__daily_report",
        "ops__completeness__check",
        "ops__platform__health",
        "ops__retention__apply",
        "raw__candle__fetch",
        "raw__candle__load",
        "raw__depth__load",
        "raw__dead_letter__reprocess",
        "raw__history__backfill",
        "raw__history__repair",
        "raw__lake__compact",
        "raw__market__fetch",
        "raw__orderbook__load",
        "raw__system__load",
        "raw__snapshot__fetch",
        "raw__ticker__fetch",
        "raw__ticker__load",
        "raw__trade__fetch",
        "raw__trade__load",
        "silver__build",
    }
)


def parse(folder: Path, hash_seed: str, root: Path = ROOT) -> dict[str, Any]:
    """What one fresh process finds in a DAG folder of the project at ``root``."""
    env = os.environ | {
        "PYTHONPATH": str(root),
        "PYTHONHASHSEED": hash_seed,
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(root / "airflow" / "plugins"),
    }
    program = Path(__file__).with_name("parse.py")
    done = subprocess.run(
        [sys.executable, str(program), str(folder)],
        env=env,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found
