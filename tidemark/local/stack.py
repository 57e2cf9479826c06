"""The whole platform on this machine: ``tidemark up · down · status · logs``.

Lives here: the order of things. Doesn't: any single server (their modules), the market day (``day``), the
numbers at the end (``summary``).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from tidemark.jobs import migrate
from tidemark.local import children, dbt, preflight, process, summary, workers
from tidemark.local import day as market_day
from tidemark.local.airflow import DATABASE, AirflowServer
from tidemark.local.day import Day
from tidemark.local.front import Front
from tidemark.local.layout import Layout
from tidemark.local.process import LocalError
from tidemark.local.steps import Progress, Say, Step, make_console, run
from tidemark.settings import Settings
from tidemark.warehouse.connection import WarehouseError

_SIMULATED_DAYS = ("--day-zone", "kst")
#: Simulated time; played fast it is more than all buffers between simulator and producer hold.
_TOLD_AGAIN = timedelta(hours=1)


def up(settings: Settings) -> int:
    """Start what doesn't run, put yesterday (KST) through it if that isn't done, show how things stand.

    Returns 0 only when everything that must hold does, else 1.
    """
    console = make_console()
    layout = Layout(settings)
    try:
        with _only_one(layout):
            return _Up(layout, console).run()
    except LocalError as error:
        for line in str(error).splitlines():
            console.print(line, style="bold red", highlight=False, markup=False)
        console.print(
            f"Logs: {layout.logs} (tidemark logs); stop what was started with: tidemark down", highlight=False
        )
        return 1
    except Exception as error:  # one line for the user, the rest for whoever mends it
        log = layout.logs / "up.log"
        log.write_text(traceback.format_exc())
        console.print(f"unexpected {type(error).__name__}: {error}", style="bold red", markup=False)
        console.print(f"The trace is in {log}; stop what was started with: tidemark down", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted. What was started still runs: tidemark up goes on, tidemark down stops it.")
        os._exit(130)  # steps under way are threads, and would be waited for


def down(settings: Settings) -> int:
    """Stop everything that :func:`up` started, and nothing else. Returns 0 when nothing of it is left."""
    console = make_console()
    layout = Layout(settings)
    _remember_played(layout)
    progress = Progress(console)
    with progress.shown():
        run(_stops(layout), progress)
    return 0


def status(settings: Settings) -> int:
    """Show what runs, since when, and where. Returns 0 when everything runs that should, else 1."""
    console = make_console()
    layout = Layout(settings)
    table = Table(box=None, padding=(0, 2))
    for name in ("", "service", "pid", "since (UTC)", "address"):
        table.add_column(name)
    complete = True
    for name, pid_file, address in _services(layout):
        pid = process.running(pid_file)
        complete = complete and pid is not None
        since = f"{datetime.fromtimestamp(psutil.Process(pid).create_time(), UTC):%Y-%m-%d %H:%M}" if pid else ""
        table.add_row("[green]●[/]" if pid else "[red]○[/]", name, str(pid or "-"), since, address if pid else "")
    console.print(table)
    return 0 if complete else 1


def docs(settings: Settings) -> int:
    """Build dbt's documentation anew from the running warehouse. Returns 0.

    Raises:
        LocalError: dbt can't build it, for example because the platform doesn't run.
    """
    layout = Layout(settings)
    url = _write_docs(layout, children.local_settings(layout, memory=False))
    Console(soft_wrap=True).print(f"dbt docs: {url}", highlight=False)
    return 0


def logs(settings: Settings, name: str | None = None) -> int:
    """Follow the log of one service, or of all, until interrupted.

    Raises:
        LocalError: there is no such log.
    """
    folder = Layout(settings).logs
    files = sorted(folder.glob("*.log"))
    chosen = [f for f in files if name is None or f.stem == name or f.stem.startswith(f"{name}-")]
    if not chosen:
        known = ", ".join(f.stem for f in files) or "none yet"
        raise LocalError(f"there is no log {name or ''} in {folder}; there are: {known}")
    with contextlib.suppress(KeyboardInterrupt):
        subprocess.run(["tail", "-n", "20", "-F", *map(str, chosen)], check=False)
    return 0


class _Up:
    """One run of :func:`up`."""

    def __init__(self, layout: Layout, console: Console) -> None:
        self._layout = layout
        self._console = console
        self._memory = False
        self._day = market_day.yesterday(datetime.now(UTC))
        self._simulated = layout.settings.local.source == "simulator"

    def run(self) -> int:
        layout = self._layout
        self._memory, line = preflight.choose_broker(layout)
        preflight.check(layout, self._memory)
        if line:
            self._console.print(line, highlight=False)
        fresh = not _is_done(layout, self._day)
        progress = Progress(self._console)
        with progress.shown():
            run([*self._servers(), *(self._market_day() if fresh else [])], progress)
        found = summary.collect(layout, self._day)
        if fresh and not found.problems:
            layout.write_note("day", {"done": self._day.date.isoformat(), "exchanges": list(layout.settings.exchanges)})
        _remember_played(layout)
        front = Front(layout, self._airflow_server())
        front.write_index()
        summary.show(found, self._console, self._day)
        front.show_addresses(self._console)
        return self._verdict(found)

    def _servers(self) -> list[Step]:
        layout = self._layout
        steps = [
            Step("PostgreSQL", self._postgres),
            Step("Kafka" if not self._memory else "in-memory broker", self._broker),
            Step("Valkey", lambda say: layout.valkey.start()),
            Step("pages", lambda say: layout.pages.start()),
            Step("migrate", self._migrate, ("PostgreSQL", "Kafka" if not self._memory else "in-memory broker")),
            Step("sink", self._sink, ("migrate",)),
            Step("producers", self._producers, ("sink", *(("simulator",) if self._simulated else ()))),
            Step("Airflow", self._airflow, ("migrate",)),
        ]
        if self._simulated:
            steps.append(Step("simulator", self._simulator))
        return steps

    def _market_day(self) -> list[Step]:
        layout, client, settings, day = self._layout, self._airflow_server, self._local, self._day

        played = f"play {day.date} (KST)" if self._simulated else "listen to the exchange"
        play = market_day.wait_until_played if self._simulated else market_day.listen
        return [
            Step(played, lambda say: play(layout, say), ("producers",)),
            Step("DAGs", lambda say: market_day.wait_for_dags(client().client, settings(), say), ("Airflow",)),
            Step(
                "history",
                lambda say: market_day.load_history(client().client, day, say),
                ("DAGs", "producers"),
            ),
            Step("land", lambda say: market_day.wait_until_landed(layout, settings(), say), (played,)),
            Step("raw", self._dags(market_day.loads(layout.settings)), ("land", "history")),
            Step("candles", lambda say: market_day.load_candles(client().client, day, say), ("land", "history")),
            Step("silver", self._dags(("silver__build",)), ("raw", "candles")),
            Step("gold", self._dags(("gold__build",)), ("silver",)),
            Step("identities", lambda say: market_day.check(client().client, day, say), ("gold",)),
            Step("report", lambda say: market_day.report(client().client, day, say), ("identities",)),
            Step("dbt docs", self._docs, ("gold",)),
            Step("schedules", self._schedules, ("report", "dbt docs")),
        ]

    def _postgres(self, say: Say) -> str:
        self._layout.postgres.start()
        self._layout.postgres.create_database(DATABASE)
        return f"127.0.0.1:{self._layout.postgres.port}"

    def _broker(self, say: Say) -> str:
        layout = self._layout
        if self._memory:
            if not layout.memory.running():
                for worker in (*workers.producers(layout).values(), workers.sink(layout, {})):
                    process.stop(worker)  # they know the address of the broker that is gone
                layout.raise_epoch()
            layout.memory.start()
            return layout.memory.bootstrap
        if not layout.kafka.cluster():
            layout.raise_epoch()
        say("fetching its jars, once" if not self._jars_there() else "")
        layout.kafka.start()
        return layout.kafka.bootstrap

    def _jars_there(self) -> bool:
        from tidemark.local.kafka import jars_cached

        return jars_cached(self._layout.cache)

    def _migrate(self, say: Say) -> str:
        try:
            return str(migrate.run(self._local())).replace("\n", "; ")
        except (WarehouseError, migrate.TopicsError) as error:
            raise LocalError(f"migrate: {error}") from error

    def _simulator(self, say: Say) -> str:
        layout = self._layout
        workers.start_simulator(layout, _what_to_play(layout, self._day))
        return f"127.0.0.1:{layout.settings.local.simulator_port}"

    def _sink(self, say: Say) -> None:
        workers.start(workers.sink(self._layout, children.environment(self._local())))

    def _producers(self, say: Say) -> str:
        for former in workers.former_producers(self._layout):
            process.stop(former)
        settings = self._local()
        envs = {name: children.environment(children.producer_settings(settings, name)) for name in settings.exchanges}
        workers.start(*workers.producers(self._layout, envs).values())
        return ", ".join(envs)

    def _airflow(self, say: Say) -> str:
        say("metadata, scheduler, UI: about 20 s")
        self._airflow_server().start()
        return self._airflow_server().url

    def _dags(self, names: Sequence[str]) -> Callable[[Say], None]:
        return lambda say: market_day.run_anew(self._airflow_server().client, names, say)

    def _docs(self, say: Say) -> str:
        return _write_docs(self._layout, self._local())

    def _schedules(self, say: Say) -> str:
        dags = market_day.dags(self._layout.settings)
        for dag_id in dags:
            self._airflow_server().client.unpause(dag_id)
        return f"{len(dags)} DAGs are switched on and run by their schedules from now on"

    def _local(self) -> Settings:
        return children.local_settings(self._layout, self._memory)

    def _airflow_server(self) -> AirflowServer:
        return airflow_server(self._layout, self._local())

    def _verdict(self, found: summary.Summary) -> int:
        self._console.print()
        if found.problems:
            for problem in found.problems:
                self._console.print(f"✗ {problem}", style="bold red", highlight=False, markup=False)
            self._console.print(f"Logs: {self._layout.logs} (tidemark logs)", highlight=False)
            return 1
        self._console.print("[bold green]✓ Nothing lost, nothing doubled.[/] Stop it with: make down", highlight=False)
        return 0


def airflow_server(layout: Layout, settings: Settings) -> AirflowServer:
    """The Airflow of this stack, with ``settings`` as what its tasks get."""
    return AirflowServer(
        layout.state / "airflow",
        layout.settings.local.airflow_port,
        layout.logs,
        layout.postgres.url(DATABASE),
        children.environment(settings),
        dbt_docs=layout.pages_root / "dbt",
    )


def _write_docs(layout: Layout, settings: Settings) -> str:
    """Write dbt's documentation into the pages; its address."""
    page = layout.pages_root / "dbt" / "index.html"
    dbt.write_docs(settings.warehouse, layout.state / "dbt-docs", page, layout.logs / "dbt.log")
    return f"{layout.pages.url}/dbt/"


@contextlib.contextmanager
def _only_one(layout: Layout) -> Iterator[None]:
    layout.state.mkdir(parents=True, exist_ok=True)
    with (layout.state / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalError("another `tidemark up` is under way here: wait for it, or interrupt it") from None
        yield


def _is_done(layout: Layout, day: Day) -> bool:
    """Whether the day has been through with every exchange that is carried."""
    note = layout.note("day")
    return note.get("done") == day.date.isoformat() and set(layout.settings.exchanges) <= set(note.get("exchanges", ()))


def _what_to_play(layout: Layout, day: Day) -> list[str]:
    """The whole day, unless it has been played already: then go on from a little before where it was left.

    What was on its way when the producer stopped is told again this way; silver knows it by its ids.
    """
    played = _played(layout)
    if played and datetime.fromisoformat(played["begin"]) <= day.begin <= datetime.fromisoformat(played["end"]):
        begin = max(day.begin, datetime.fromisoformat(played["end"]) - _TOLD_AGAIN)
        return ["--from", begin.isoformat()]
    return ["--day", day.date.isoformat(), *_SIMULATED_DAYS]


def _remember_played(layout: Layout) -> None:
    """Note what the running simulator has played without a hole."""
    with contextlib.suppress(LocalError):
        status = workers.simulator_status(layout).values()
        begin = datetime.fromtimestamp(max(one["from_ms"] for one in status) / 1000, UTC)
        end = datetime.fromtimestamp(min(one["now_ms"] for one in status) / 1000, UTC)
        played = _played(layout)
        if played and datetime.fromisoformat(played["begin"]) <= begin <= datetime.fromisoformat(played["end"]):
            begin = datetime.fromisoformat(played["begin"])
        period = {"begin": begin.isoformat(), "end": end.isoformat()}
        layout.write_note("played", {**period, "exchanges": list(layout.settings.exchanges)})


def _played(layout: Layout) -> dict[str, Any]:
    """What has been played of every exchange that is carried; empty when one of them is new."""
    note = layout.note("played")
    return note if set(layout.settings.exchanges) <= set(note.get("exchanges", ())) else {}


def _stops(layout: Layout) -> list[Step]:
    """Drain in the direction of the flow; PostgreSQL last, since everybody needs it to end well."""

    def stop(*programs: process.Program) -> Callable[[Say], str]:
        def action(say: Say) -> str:
            stopped = [process.stop(program) for program in programs]
            return "" if any(stopped) else "did not run"

        return action

    return [
        Step("producers", stop(*workers.producers(layout).values(), *workers.former_producers(layout))),
        Step("simulator", stop(workers.simulator(layout)), ("producers",)),
        Step("sink", stop(workers.sink(layout, {})), ("producers",)),
        Step("broker", stop(layout.kafka.program, layout.memory.program), ("sink",)),
        Step("Airflow", lambda say: "" if _stop_airflow(layout) else "did not run"),
        Step("Valkey", stop(layout.valkey.program)),
        Step("pages", stop(layout.pages.program)),
        Step("PostgreSQL", stop(layout.postgres.program), ("Airflow", "sink")),
    ]


def _stop_airflow(layout: Layout) -> bool:
    return (layout.state / "airflow").exists() and airflow_server(layout, layout.settings).stop()


def _services(layout: Layout) -> list[tuple[str, Path, str]]:
    local = layout.settings.local
    memory = layout.memory.running()
    broker = ("in-memory broker", layout.memory.program.pid_file, layout.memory.bootstrap)
    airflow = airflow_server(layout, layout.settings)
    found = [
        ("PostgreSQL", layout.postgres.program.pid_file, layout.postgres.url(user="tidemark_gold_ro")),
        broker if memory else ("Kafka", layout.kafka.program.pid_file, layout.kafka.bootstrap),
        ("Valkey", layout.valkey.program.pid_file, layout.valkey.url),
        ("sink", layout.state / "sink" / "sink.pid", ""),
        *((f"producer {name}", one.pid_file, "") for name, one in workers.producers(layout).items()),
        *((f"Airflow {n}", p.pid_file, airflow.url if n == "api-server" else "") for n, p in airflow.programs.items()),
        ("pages", layout.pages.program.pid_file, layout.pages.url),
    ]
    if local.source == "simulator":
        found.insert(
            3,
            ("simulator", layout.state / "simulator" / "simulator.pid", f"127.0.0.1:{local.simulator_port}"),
        )
    return found
