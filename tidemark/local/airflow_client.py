"""A small client of Airflow's REST API.

Lives here: what the local stack and tests ask of a running Airflow. Doesn't: starting it (``airflow``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import requests

from tidemark.local.process import LocalError

_TIMEOUT_S = 30.0
_ATTEMPTS = 4
_PAUSE_S = 1.0
_POLL_S = 1.0
DONE = frozenset({"success", "failed"})


class AirflowClient:
    """Talks to the API at ``url`` as ``user``; logs in again when its token has run out."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url.rstrip("/")
        self._login = {"username": user, "password": password}
        self._session = requests.Session()
        self._session.trust_env = False  # it is on this machine: never through a proxy

    def answers(self) -> bool:
        """Whether the API is there and has its database."""
        return self._healthy("metadatabase")

    def healthy(self) -> bool:
        """Whether all four components report healthy."""
        return self._healthy("metadatabase", "scheduler", "dag_processor", "triggerer")

    def _healthy(self, *names: str) -> bool:
        try:
            answer = self._session.get(f"{self._url}/api/v2/monitor/health", timeout=5)
            parts = answer.json() if answer.ok else {}
        except (requests.RequestException, ValueError):
            return False
        return all((parts.get(name) or {}).get("status") == "healthy" for name in names)

    def dags(self) -> dict[str, dict[str, Any]]:
        """Every DAG that Airflow knows, by id."""
        return {dag["dag_id"]: dag for dag in self._get("/dags", limit=100)["dags"]}

    def dag(self, dag_id: str) -> dict[str, Any]:
        """One DAG as the API shows it."""
        return self._get(f"/dags/{quote(dag_id)}")

    def import_errors(self) -> list[str]:
        """One line for each DAG file that can't be imported: file and last line of the trace."""
        found = self._get("/importErrors", limit=100)["import_errors"]
        return [f"{e['filename']}: {e['stack_trace'].strip().splitlines()[-1]}" for e in found]

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run the DAG."""
        self._call("PATCH", f"/dags/{quote(dag_id)}", {"is_paused": False})

    def set_pool(self, name: str, slots: int) -> None:
        """Make the pool, or give it this number of slots."""
        pool = {"name": name, "slots": slots, "description": "made by tidemark up", "include_deferred": False}
        answer = self._send("POST", "/pools", pool)
        if answer.status_code == requests.codes.conflict:
            answer = self._send("PATCH", f"/pools/{quote(name)}", pool)
        _check(answer, f"pool {name}")

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run with ``conf`` as its Params; its id. A run that has this id already is left alone.

        Raises:
            LocalError: Airflow refuses, for example because a Param is not valid.
        """
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf or {})}
        if run_id is not None:
            body["dag_run_id"] = run_id
        answer = self._send("POST", f"/dags/{quote(dag_id)}/dagRuns", body)
        if answer.status_code == requests.codes.conflict and run_id is not None:
            return run_id
        return str(_check(answer, f"a run of {dag_id}")["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run as the API shows it."""
        return self._get(f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}")

    def runs(self, dag_id: str = "~", limit: int = 100) -> list[dict[str, Any]]:
        """The newest runs of one DAG, or of all."""
        found = self._get(f"/dags/{quote(dag_id, safe='~')}/dagRuns", limit=limit, order_by="-run_after")
        return list(found["dag_runs"])

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of one run."""
        path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances"
        return list(self._get(path, limit=100)["task_instances"])

    def announced(self, dag_id: str, run_id: str) -> list[str]:
        """Names of the assets that one run announced as new."""
        found = self._get("/assets/events", source_dag_id=dag_id, source_run_id=run_id, limit=100)
        return [str(event["name"]) for event in found["asset_events"]]

    def result(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
        """What one task returned (its XCom), or None."""
        task = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances/{quote(task_id)}"
        answer = self._send("GET", f"{task}/xcomEntries/return_value?map_index={map_index}")
        return answer.json().get("value") if answer.ok else None

    def wait(
        self, dag_id: str, run_id: str, timeout_s: float, watch: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """Wait until the run has ended, telling ``watch`` its state now and then.

        Raises:
            LocalError: it failed (the message names the tasks), or did not end in time.
        """
        deadline = time.monotonic() + timeout_s
        while (run := self.run(dag_id, run_id))["state"] not in DONE:
            if time.monotonic() > deadline:
                raise LocalError(f"{dag_id} ({run_id}) is {run['state']} after {timeout_s:.0f} s")
            if watch is not None:
                watch(str(run["state"]))
            time.sleep(_POLL_S)
        if run["state"] != "success":
            where = f"{self._url}/dags/{dag_id}/runs/{run_id}"
            raise LocalError(f"{dag_id} failed in {self._failure(dag_id, run_id)}: see {where}")
        return run

    def _failure(self, dag_id: str, run_id: str) -> str:
        """The first failed task and its error; "no task" when none failed by itself."""
        for task in self.tasks(dag_id, run_id):
            if task["state"] == "failed":
                return f"{task['task_id']} ({self._error(dag_id, run_id, task) or 'no message'})"
        return "no task"

    def _error(self, dag_id: str, run_id: str, task: Mapping[str, Any]) -> str:
        path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances/{quote(task['task_id'])}/logs"
        answer = self._send("GET", f"{path}/{task['try_number']}", query={"map_index": task["map_index"]})
        events = answer.json().get("content", []) if answer.ok else []
        found = [detail for event in events if isinstance(event, dict) for detail in event.get("error_detail") or []]
        return str(found[0].get("exc_value", "")).strip()[:300] if found else ""

    def _get(self, path: str, **query: Any) -> dict[str, Any]:
        answer = self._send("GET", path, query=query)
        return _check(answer, path)

    def _call(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return _check(self._send(method, path, body), path)

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> requests.Response:
        answer = self._request(method, path, body, query)
        if answer.status_code == requests.codes.unauthorized:
            self._authenticate()
            answer = self._request(method, path, body, query)
        return answer

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, Any] | None
    ) -> requests.Response:
        url = f"{self._url}/api/v2{path}"
        # A busy machine may leave one question unanswered. What changes nothing is asked again.
        attempts = _ATTEMPTS if method == "GET" else 1
        for left in reversed(range(attempts)):
            try:
                return self._session.request(method, url, json=body, params=query, timeout=_TIMEOUT_S)
            except requests.RequestException as error:
                problem = type(error).__name__
                if left:
                    time.sleep(_PAUSE_S)
        raise LocalError(f"Airflow at {self._url} does not answer: {problem}")

    def _authenticate(self) -> None:
        try:
            answer = self._session.post(f"{self._url}/auth/token", json=self._login, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise LocalError(f"Airflow at {self._url} does not answer: {type(error).__name__}") from None
        self._session.headers["Authorization"] = f"Bearer {_check(answer, 'the login')['access_token']}"


def _check(answer: requests.Response, what: str) -> dict[str, Any]:
    if not answer.ok:
        raise LocalError(f"Airflow refuses {what}: {answer.status_code} {answer.text[:300]}")
    return dict(answer.json()) if answer.content else {}
