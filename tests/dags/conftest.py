"""A quiet Airflow for the tests of the DAGs: its own home, the project's folders, nothing started.

Lives here: the environment (set before anything imports Airflow) and one parse of all DAGs. Doesn't: a
running Airflow (``tests/integration/airflow``).
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

import pytest

from tests.dags import project

#: Removed when the process ends.
_HOME = tempfile.TemporaryDirectory(prefix="tidemark-dags-")
os.environ |= {
    "AIRFLOW_HOME": _HOME.name,
    "AIRFLOW__CORE__DAGS_FOLDER": str(project.DAGS),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(project.PLUGINS),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
    "DO_NOT_TRACK": "1",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
}
if str(project.PLUGINS) not in sys.path:
    sys.path.append(str(project.PLUGINS))


@pytest.fixture(scope="session")
def parsed() -> dict[str, Any]:
    """Every DAG of the project, serialised as Airflow stores it; import errors; heavy modules loaded."""
    return project.parse(project.DAGS, hash_seed="1")
