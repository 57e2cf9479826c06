"""What is done in batch: one module a verb, each with ``run(settings, …)`` returning a summary.

Lives here: plain functions that DAG tasks and the command line call. Doesn't: schedules (``airflow/dags``), services
that run for good (``streaming``, ``alerts``).
"""
