"""Tidemark's library: what streaming, alerts, serving and the DAGs share.

Lives here: contracts, exchange protocols, the lake protocol, the warehouse, jobs, the local stack.
Doesn't: Kafka loops (``streaming``), Slack and the report (``alerts``), web servers (``serving``),
DAGs (``airflow/dags``). This package imports none of them.
"""

__version__ = "0.1.0"
