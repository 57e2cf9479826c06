"""Parses a DAG folder as Airflow's DAG processor does and prints what it found, as JSON.

Run as a program, so that each parse starts with nothing imported: ``python parse.py <folder>``.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import Any

#: Far too heavy to import for each parse of each DAG file.
HEAVY = (
    "anthropic",
    "confluent_kafka",
    "dbt",
    "google",
    "great_expectations",
    "numpy",
    "pandas",
    "psycopg",
    "pyarrow",
)


def main(folder: str) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.serialized_objects import DagSerialization

    bag = DagBag(folder)
    heavy = [name for name in HEAVY if name in sys.modules]
    dags = {name: DagSerialization.to_dict(dag) for name, dag in sorted(bag.dags.items())}
    found = {
        "errors": bag.import_errors,
        "heavy": heavy,
        "dags": dags,
        "versions": {name: SerializedDagModel.hash(data) for name, data in dags.items()},
        "runs": {name: _first_runs(DagSerialization.from_dict(data)) for name, data in dags.items()},
    }
    sys.stdout.write("\n" + json.dumps(found))


def _first_runs(dag: Any) -> list[list[str]]:
    """The data intervals of the DAG's first two scheduled runs; none of a DAG that only people run."""
    from airflow.timetables.base import TimeRestriction

    restriction = TimeRestriction(earliest=dag.start_date, latest=None, catchup=True)
    intervals: list[list[str]] = []
    last = None
    for _ in range(2):
        info = dag.timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        if info is None:
            return []
        last = info.data_interval
        assert last.end - last.start > timedelta(0)
        intervals.append([last.start.isoformat(), last.end.isoformat(), info.run_after.isoformat()])
    return intervals


if __name__ == "__main__":
    main(sys.argv[1])
