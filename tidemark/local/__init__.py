"""The platform on one machine: servers, workers and Airflow as processes of the user, without Docker or root.

Each server has a module that starts it, waits until it answers and stops it (``postgres``, ``kafka``,
``memory``, ``valkey``, ``airflow``, ``pages``); ``stack`` puts them together for ``make up``. Tests use the
same servers on free ports. Nothing here is needed, or imported, in production.
"""
