"""One Korean market day through the whole platform: played, landed, loaded, built, checked, reported.

Lives here: waiting for the stream, and driving Airflow's DAGs with the day as their window. Doesn't: starting
processes (``stack``), the numbers at the end (``summary``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tidemark import naming
from tidemark.completeness.summary import NAMES
from tidemark.exchanges import registry
from tidemark.local import process, workers
from tidemark.local.airflow_client import AirflowClient
from tidemark.local.layout import Layout
from tidemark.local.process import LocalError
from tidemark.local.steps import Say
from tidemark.settings import Settings

KST = ZoneInfo("Asia/Seoul")
#: Without any progress for so long, somebody must look.
_STUCK_S = 180.0
_POLL_S = 1.0
#: How many times the day is checked while its builds are behind, and the checks that wait for builds.
_CHECKS = 3
_BUILT = tuple(f"{identity} {NAMES[identity]} " for identity in (3, 4))
#: How long the scheduler may take to start a DAG that is no longer paused.
_OWN_START_S = 10.0
_LIVE_SECONDS = 90.0
_DAILY_HISTORY = timedelta(days=130)
_HOURLY_HISTORY = timedelta(days=14)
FETCHES = tuple(f"raw__{dataset}__fetch" for dataset in ("market", "candle", "trade", "ticker", "snapshot"))
BUILDS = ("silver__build", "gold__build")
CHECK, REPORT, COMPACT = "ops__completeness__check", "gold__daily_report", "raw__lake__compact"
REPAIR, REPROCESS = "raw__history__repair", "raw__dead_letter__reprocess"
#: Has no schedule: people run it, and a run of a paused DAG would be queued for ever.
BACKFILL = "raw__history__backfill"
RETAIN, HEALTH = "ops__retention__apply", "ops__platform__health"
OTHERS = (*FETCHES, *BUILDS, CHECK, REPORT, COMPACT, REPAIR, REPROCESS, RETAIN, HEALTH, BACKFILL)


def loads(settings: Settings) -> tuple[str, ...]:
    """The DAGs that load what the carried exchanges stream."""
    carried = {dataset for name in settings.exchanges for dataset in registry.get(name).datasets}
    return tuple(f"raw__{dataset}__load" for dataset in naming.STREAM_DATASETS if dataset in carried)


def dags(settings: Settings) -> tuple[str, ...]:
    """Every DAG that runs by its schedule, and the backfill: none is left paused."""
    return (*OTHERS, *loads(settings))


@dataclass(frozen=True)
class Day:
    """A KST date and its first and last instant (the latter excluded), in UTC."""

    date: date

    @property
    def begin(self) -> datetime:
        """Midnight in Korea."""
        return datetime(self.date.year, self.date.month, self.date.day, tzinfo=KST).astimezone(UTC)

    @property
    def end(self) -> datetime:
        """Midnight a day later."""
        return self.begin + timedelta(days=1)


def yesterday(now: datetime) -> Day:
    """The last KST day that is over at ``now`` (aware)."""
    return Day(now.astimezone(KST).date() - timedelta(days=1))


def wait_until_played(layout: Layout, say: Say) -> str:
    """Wait until the simulator has played the past and goes on in real time; what was sent until then.

    Raises:
        LocalError: a worker ended, or nothing moves any more.
    """
    watch = _Stuck("the simulator plays nothing: see producer-*.log and simulator.log in " + str(layout.logs))
    while True:
        status = workers.simulator_status(layout)
        sent = {name: one["trades_sent"] for name, one in status.items()}
        if all(one["phase"] in ("live", "done") for one in status.values()):
            return f"{sum(sent.values()):,} trades sent ({', '.join(f'{x} {n:,}' for x, n in sent.items())})"
        _require_workers(layout)
        watch.look([(one["now_ms"], one["trades_sent"]) for one in status.values() if one["phase"] != "live"])
        progress = ", ".join(f"{name} {one['progress']:.0%}" for name, one in status.items())
        say(f"{progress}; {sum(sent.values()):,} trades sent")
        time.sleep(_POLL_S)


def listen(layout: Layout, say: Say) -> str:
    """Live source: listen for a while, so that there is something to load."""
    end = time.monotonic() + _LIVE_SECONDS
    while (left := end - time.monotonic()) > 0:
        _require_workers(layout)
        say(f"{left:.0f} s to go")
        time.sleep(_POLL_S)
    return ""


def wait_until_landed(layout: Layout, settings: Settings, say: Say) -> str:
    """Wait until everything that the topics hold now is in the lake.

    Raises:
        LocalError: the sink ended, or it doesn't get any further.
    """
    watch = _Stuck(f"the sink does not get any further: see {layout.logs / 'sink.log'}")
    client = Consumer(
        {
            "bootstrap.servers": settings.kafka.bootstrap_servers,
            "group.id": settings.sink.group,
            "log_level": 2,
        }
    )
    try:
        goal = _ends(client, settings)
        while behind := _behind(client, goal):
            _require_workers(layout)
            workers.write_soon(layout)  # its objects wait for the next load otherwise
            watch.look(behind)
            say(f"{behind:,} of {sum(goal.values()):,} records to go")
            time.sleep(_POLL_S)
    except KafkaException as error:
        raise LocalError(f"the broker at {settings.kafka.bootstrap_servers} does not answer: {error}") from None
    finally:
        client.close()
    return f"{sum(goal.values()):,} records"


def wait_for_dags(client: AirflowClient, settings: Settings, say: Say, timeout_s: float = 180.0) -> None:
    """Wait until Airflow has read every DAG.

    Raises:
        LocalError: a DAG file can't be imported, or DAGs are missing in the end; names them.
    """
    deadline = time.monotonic() + timeout_s
    while missing := set(dags(settings)) - client.dags().keys():
        if errors := client.import_errors():
            raise LocalError("Airflow can't import " + "; ".join(errors))
        if time.monotonic() > deadline:
            raise LocalError(f"Airflow does not find {', '.join(sorted(missing))}")
        say(f"{len(missing)} DAGs to read")
        time.sleep(_POLL_S)


def load_history(client: AirflowClient, day: Day, say: Say) -> str:
    """Fetch the markets and the candles before the day: 130 days by day, 14 days by hour."""
    until = _utc_midnight(day.begin)
    run_anew(client, ("raw__market__fetch",), say)
    for interval, back in (("1d", _DAILY_HISTORY), ("1h", _HOURLY_HISTORY)):
        run(client, "raw__candle__fetch", {"interval": interval, **_window(until - back, until)}, say)
    return "130 days by day, 14 days by hour"


def load_candles(client: AirflowClient, day: Day, say: Say) -> None:
    """Fetch the exchange's own candles of the day, the witness and the history of tomorrow, and a first snapshot."""
    run_anew(client, ("raw__snapshot__fetch",), say)
    run(client, "raw__candle__fetch", _window(_utc_midnight(day.begin), _utc_midnight(day.end)), say)


def check(client: AirflowClient, day: Day, say: Say) -> None:
    """Compute the identities from the day's first hour to the hour that runs now.

    A load that came in meanwhile leaves silver ahead of gold; then both are built and checked again.
    """
    for _ in range(_CHECKS):
        now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        run_id = run(client, CHECK, _window(day.begin, now), say)
        outcome = client.result(CHECK, run_id, "check") or {}
        behind = [line for line in outcome.get("waiting", ()) if _waits_for_builds(line, day)]
        if not behind:
            return
        say(f"{len(behind)} hours wait for silver or gold")
        run_anew(client, BUILDS, say)


def report(client: AirflowClient, day: Day, say: Say) -> None:
    """Write and post the day's report."""
    run(client, REPORT, {"report_date": day.date.isoformat()}, say)


def _waits_for_builds(line: str, day: Day) -> bool:
    """Whether a line of a check is about one of the day's hours, of which silver or gold lacks something."""
    hours = (f"{day.begin + n * timedelta(hours=1):%Y-%m-%d %H:00}" for n in range(24))
    return any(name in line for name in _BUILT) and any(hour in line for hour in hours)


def run(client: AirflowClient, dag_id: str, conf: Mapping[str, Any], say: Say, timeout_s: float = 1800.0) -> str:
    """Trigger a DAG and wait for its end; the id of the run.

    Raises:
        LocalError: it failed, or did not end in time.
    """
    client.unpause(dag_id)
    say(dag_id)
    run_id = client.trigger(dag_id, conf)
    client.wait(dag_id, run_id, timeout_s, lambda state: say(f"{dag_id} {state}"))
    return run_id


def run_anew(client: AirflowClient, dag_ids: Sequence[str], say: Say, timeout_s: float = 1800.0) -> None:
    """Have each of the DAGs, which need no Params, run once from now on, and wait for their ends.

    A DAG that was paused starts by itself when it no longer is; that run is taken, so that none runs twice.

    Raises:
        LocalError: one failed, or did not end in time.
    """
    before = {dag_id: {run["dag_run_id"] for run in client.runs(dag_id)} for dag_id in dag_ids}
    paused = [dag_id for dag_id in dag_ids if client.dag(dag_id)["is_paused"]]
    for dag_id in paused:
        client.unpause(dag_id)
    patience = time.monotonic() + _OWN_START_S
    for place, dag_id in enumerate(dag_ids, 1):
        run_id = _own_run(client, dag_id, before[dag_id], patience) if dag_id in paused else None
        run_id = run_id or client.trigger(dag_id)
        count = f" ({place} of {len(dag_ids)})" if len(dag_ids) > 1 else ""
        client.wait(dag_id, run_id, timeout_s, lambda state, n=dag_id, c=count: say(f"{n} {state}{c}"))  # type: ignore[misc]


def _own_run(client: AirflowClient, dag_id: str, before: set[str], patience: float) -> str | None:
    """The run that the scheduler made of a DAG that is no longer paused; None when it makes none."""
    while time.monotonic() < patience:
        new = [run["dag_run_id"] for run in client.runs(dag_id) if run["dag_run_id"] not in before]
        if new:
            return str(new[0])
        time.sleep(_POLL_S / 2)
    return None


class _Stuck:
    """Notices when something that should move does not."""

    def __init__(self, message: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._message = message
        self._clock = clock
        self._last: object = None
        self._since = clock()

    def look(self, value: object) -> None:
        """Raises LocalError when ``value`` has been the same for too long."""
        if value != self._last:
            self._last, self._since = value, self._clock()
        elif self._clock() - self._since > _STUCK_S:
            raise LocalError(f"no progress for {_STUCK_S:.0f} s: {self._message}")


def _require_workers(layout: Layout) -> None:
    for name in (*(f"producer-{exchange}" for exchange in layout.settings.exchanges), "sink"):
        if process.running(layout.state / name / f"{name}.pid") is None:
            log = layout.logs / f"{name}.log"
            raise LocalError(f"the {name} has ended; its log {log} ends with:\n{process.tail(log)}")


def _ends(client: Consumer, settings: Settings) -> dict[tuple[str, int], int]:
    every = [t for name in settings.exchanges for t in naming.topics(name, registry.get(name).datasets)]
    topics = [t for t in every if not t.name.endswith(".dlq")]
    return {
        (topic.name, partition): client.get_watermark_offsets(TopicPartition(topic.name, partition), timeout=30)[1]
        for topic in topics
        for partition in range(topic.partitions)
    }


def _behind(client: Consumer, goal: Mapping[tuple[str, int], int]) -> int:
    asked = [TopicPartition(topic, partition) for topic, partition in goal]
    return sum(max(0, goal[p.topic, p.partition] - max(p.offset, 0)) for p in client.committed(asked, timeout=30))


def _utc_midnight(instant: datetime) -> datetime:
    return instant.replace(hour=0, minute=0, second=0, microsecond=0)


def _window(begin: datetime, end: datetime) -> dict[str, str]:
    return {"window_start": begin.isoformat(), "window_end": end.isoformat()}
