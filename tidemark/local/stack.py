"""The whole platform on this machine: ``tidemark up · down · status · logs``.

Lives here: the order of things. Doesn't: any single server (their modules), the market day (``day``), the
numbers at the end (``summary``).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import psutil
from rich.console import Console
from rich.table import Table

from tidemark.jobs import migrate
from tidemark.local import children, dbt, preflight, process, summary, watcher, workers
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
#: Seconds that a restart of services by the watcher may take.
_RESTART_S = 300.0
#: Simulated time; played fast it is more than all buffers between simulator and producer hold.
_TOLD_AGAIN = timedelta(hours=1)


def up(settings: Settings) -> int:
    """Start what doesn't run, put yesterday (KST) through it if that isn't done, show how things stand.

    Returns 0 only when everything that must hold does, else 1.
    """
    console = make_console()
    layout = Layout(settings)
    try:
        with only_one(layout):
            return Up(layout, console).run()
    except LocalError as error:
        for line in (*str(error).splitlines(), *filter(None, [preflight.full_disk(layout)])):
            console.print(line, style="bold red", highlight=False, markup=False)
        console.print(
            f"Logs: {layout.logs} (tidemark logs); stop what was started with: tidemark down", highlight=False
        )
        return 1
    except Exception as error:  # one line for the user, the rest for whoever fixes it
        for line in filter(None, [f"unexpected {type(error).__name__}: {error}", preflight.full_disk(layout)]):
            console.print(line, style="bold red", markup=False)
        log = layout.logs / "up.log"
        with contextlib.suppress(OSError):
            log.write_text(traceback.format_exc())
            console.print(f"The trace is in {log}.", highlight=False)
        console.print("Stop what was started with: tidemark down", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted. What was started still runs: tidemark up goes on, tidemark down stops it.")
        os._exit(130)  # steps under way are threads, and would be waited for


def down(settings: Settings) -> int:
    """Stop everything that :func:`up` started, and nothing else. Returns 0 when nothing of it is left."""
    console = make_console()
    layout = Layout(settings)
    try:
        remember_played(layout)
        progress = Progress(console)
        with progress.shown():
            run(_stops(layout), progress)
    except (LocalError, OSError) as error:
        for line in (*str(error).splitlines(), *filter(None, [preflight.full_disk(layout)])):
            console.print(line, style="bold red", highlight=False, markup=False)
        return 1
    return 0


def status(settings: Settings) -> int:
    """Show what runs, since when, and where. Returns 0 when everything runs that should, else 1."""
    console = make_console()
    layout = Layout(settings)
    table = Table(box=None, padding=(0, 2))
    for name in ("", "service", "pid", "since (UTC)", "address"):
        table.add_column(name)
    complete = True
    for name, pid_file, address in services(layout):
        pid = process.running(pid_file)
        complete = complete and pid is not None
        since = f"{datetime.fromtimestamp(psutil.Process(pid).create_time(), UTC):%Y-%m-%d %H:%M}" if pid else ""
        table.add_row("[green]●[/]" if pid else "[red]○[/]", name, str(pid or "-"), since, address if pid else "")
    console.print(table)
    if line := _older_code(layout):
        console.print(line, style="yellow", highlight=False, markup=False)
    return 0 if complete else 1


def docs(settings: Settings) -> int:
    """Build dbt's documentation anew from the running warehouse. Returns 0.

    Raises:
        LocalError: dbt can't build it, for example because the platform doesn't run.
    """
    layout = Layout(settings)
    if not layout.postgres.running():  # whoever has its port has another warehouse
        raise LocalError(f"The platform of {layout.state} does not run. Start it: tidemark up")
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


class Up:
    """One run of :func:`up`."""

    def __init__(self, layout: Layout, console: Console) -> None:
        self._layout = layout
        self._console = console
        self._memory = False
        self._resumes = False
        self._day = market_day.yesterday(datetime.now(UTC))
        self._simulated = layout.settings.local.source == "simulator"

    def run(self) -> int:
        """Start, put the day through, judge. Returns 0 only when everything that must hold does, else 1.

        Raises:
            LocalError: something stands in the way, or a step failed.
        """
        layout = self._layout
        self._memory, line = preflight.choose_broker(layout)
        preflight.check(layout, self._memory)
        for one in filter(None, (line, preflight.little_memory(layout), _older_code(layout))):
            self._console.print(one, highlight=False, markup=False)
        fresh = not _is_done(layout, self._day)
        died = any(process.died(pid_file) for _, pid_file, _ in services(layout))
        died = died or bool(layout.note("unclean"))
        progress = Progress(self._console)
        with progress.shown():
            run([*self._servers(), *(self._market_day() if fresh else self._go_on(died))], progress)
        layout.write_note("unclean", {})
        found = summary.collect(layout, self._day, fresh)
        if fresh and not found.problems:
            layout.write_note("day", {"done": self._day.date.isoformat(), "exchanges": list(layout.settings.exchanges)})
        remember_played(layout)
        front = Front(layout, self._airflow_server())
        front.write_index()
        summary.show(found, self._console, self._day)
        front.show_addresses(self._console)
        return self._verdict(found)

    def start_servers(self, progress: Progress) -> None:
        """Start those services that don't run, in order; the broker is the one that was used until now.

        Raises:
            LocalError: one can't be started.
        """
        self._memory = bool(self._layout.note("broker").get("memory"))
        self._resumes = True
        run(self._servers(), progress)

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
            Step("watcher", lambda say: watcher.start(layout), ("producers", "Airflow", "Valkey", "pages")),
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
            Step("identities", lambda say: market_day.prove(client().client, settings(), day, say), ("gold",)),
            Step("report", lambda say: market_day.report(client().client, day, say), ("identities",)),
            Step("dbt docs", self._docs, ("gold",)),
            Step("schedules", self._schedules, ("report", "dbt docs")),
        ]

    def _go_on(self, died: bool) -> list[Step]:
        """What a day that is done needs: schedules of new DAGs; after an unclean stop (``died``) a check as well."""
        layout, client, settings, day = self._layout, self._airflow_server, self._local, self._day
        steps = [Step("DAGs", lambda say: market_day.wait_for_dags(client().client, settings(), say), ("Airflow",))]
        if died:
            steps += [
                Step("land", lambda say: market_day.wait_until_landed(layout, settings(), say), ("producers",)),
                Step("raw", self._dags(market_day.loads(layout.settings)), ("land", "DAGs")),
                Step("silver", self._dags(("silver__build",)), ("raw",)),
                Step("gold", self._dags(("gold__build",)), ("silver",)),
                Step("identities", lambda say: market_day.prove(client().client, settings(), day, say), ("gold",)),
            ]
        return [*steps, Step("schedules", self._schedules, (steps[-1].name,))]

    def _postgres(self, say: Say) -> str:
        self._layout.postgres.start()
        self._layout.postgres.create_database(DATABASE)
        return f"127.0.0.1:{self._layout.postgres.port}"

    def _broker(self, say: Say) -> str:
        layout = self._layout
        self._leave_other_broker(say)
        layout.write_note("broker", {"memory": self._memory})
        if self._memory:
            if not layout.memory.running():
                self._stop_clients()  # they know the address of the broker that is gone
                layout.raise_epoch(memory=True)
            layout.memory.start()
            return layout.memory.bootstrap
        if not layout.kafka.running() and not layout.kafka.cluster():
            layout.raise_epoch(memory=False)
        say("fetching its jars, once" if not self._jars_there() else "")
        layout.kafka.start()
        return layout.kafka.bootstrap

    def _leave_other_broker(self, say: Say) -> None:
        """Where the other broker was used until now: have what it holds landed, and stop it and its clients.

        Raises:
            LocalError: the sink doesn't land what is left.
        """
        layout = self._layout
        other = layout.kafka if self._memory else layout.memory
        if not other.running() and layout.note("broker").get("memory", self._memory) == self._memory:
            return
        for producer in (*workers.producers(layout).values(), *workers.former_producers(layout)):
            process.stop(producer)
        if other.running() and process.running(workers.sink(layout, {}).pid_file):
            settings = children.local_settings(layout, not self._memory)
            market_day.wait_until_landed(layout, settings, say, producers=False)
        self._stop_clients()
        other.stop()

    def _stop_clients(self) -> None:
        """Stop all who were given the address and the epoch of a broker at their start."""
        layout = self._layout
        for worker in (*workers.producers(layout).values(), workers.sink(layout, {})):
            process.stop(worker)
        _stop_airflow(layout)

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
        workers.start_simulator(layout, _what_to_play(layout, self._day, resumes=self._resumes))
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
        layout, client = self._layout, self._airflow_server().client
        known = layout.note("schedules").get("dags")
        every = market_day.dags(layout.settings)
        new, paused = market_day.resume(client, every, known)
        layout.write_note("schedules", {"dags": sorted({*(known or ()), *every})})
        said = f"{len(every) - len(paused)} DAGs run by their schedules"
        if known is not None and new:
            said += f"; new: {', '.join(new)}"
        return said + (f"; paused by a person: {', '.join(paused)}" if paused else "")

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
        checked = f"{found.checked_at:%Y-%m-%d %H:%M} UTC" if found.checked_at else "unknown"
        self._console.print(
            f"[bold green]✓ Nothing lost, nothing doubled[/] (check of {checked}). Stop it with: make down",
            highlight=False,
        )
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


def _older_code(layout: Layout) -> str:
    """One line that names the services whose code the project's folder no longer holds; empty without any."""
    names = [name for name, pid_file, _ in services(layout) if process.outdated(pid_file)]
    if not names:
        return ""
    return f"Started with other code than this folder holds: {', '.join(names)}. Restart with: make down, make up"


@contextlib.contextmanager
def only_one(layout: Layout, name: str = "tidemark up") -> Iterator[None]:
    """While inside, nobody else starts services of this state directory; a restart by the watcher is waited for.

    Raises:
        LocalError: another command does, or the directory can't be written.
    """
    preflight.require_state(layout)
    deadline = time.monotonic() + _RESTART_S
    with (layout.state / "lock").open("a+") as file:
        while not _locked(file):
            file.seek(0)
            holder = file.read()
            if holder != watcher.NAME or name == watcher.NAME or time.monotonic() > deadline:
                raise LocalError(
                    f"another `{holder or 'tidemark up'}` is in progress here: wait for it, or interrupt it"
                )
            time.sleep(0.5)
        with contextlib.suppress(OSError):  # a full disk: the lock holds without a name
            file.truncate(0)
            file.write(name)
            file.flush()
        yield


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_done(layout: Layout, day: Day) -> bool:
    """Whether the day has been through with every exchange that is carried."""
    note = layout.note("day")
    return note.get("done") == day.date.isoformat() and set(layout.settings.exchanges) <= set(note.get("exchanges", ()))


def _what_to_play(layout: Layout, day: Day, *, resumes: bool = False) -> list[str]:
    """The whole day; where that is done, or playing ``resumes`` after a kill, from a little before its end on.

    What was in transit when the producer stopped is sent again; silver knows it by its ids. A day that is not done
    is played whole, because only who played all of it can witness all of it.
    """
    played = _played(layout) if resumes or _is_done(layout, day) else {}
    if played and datetime.fromisoformat(played["begin"]) <= day.begin <= datetime.fromisoformat(played["end"]):
        begin = max(day.begin, datetime.fromisoformat(played["end"]) - _TOLD_AGAIN)
        return ["--from", begin.isoformat()]
    return ["--day", day.date.isoformat(), *_SIMULATED_DAYS]


def remember_played(layout: Layout) -> None:
    """Note what the running simulator has played without a hole; without it, or on a full disk, the note stays."""
    with contextlib.suppress(LocalError, OSError):
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

    watching = "watcher"
    return [
        Step(watching, stop(watcher.program(layout))),
        Step("producers", stop(*workers.producers(layout).values(), *workers.former_producers(layout)), (watching,)),
        Step("simulator", stop(workers.simulator(layout)), ("producers",)),
        Step("sink", stop(workers.sink(layout, {})), ("producers",)),
        Step("broker", stop(layout.kafka.program, layout.memory.program), ("sink",)),
        Step("Airflow", lambda say: "" if _stop_airflow(layout) else "did not run", (watching,)),
        Step("Valkey", stop(layout.valkey.program), (watching,)),
        Step("pages", stop(layout.pages.program), (watching,)),
        Step("PostgreSQL", stop(layout.postgres.program), ("Airflow", "sink")),
    ]


def _stop_airflow(layout: Layout) -> bool:
    return (layout.state / "airflow").exists() and airflow_server(layout, layout.settings).stop()


def services(layout: Layout) -> list[tuple[str, Path, str]]:
    """Every service that should run: its name, its pid file, its address (empty: none for people)."""
    local = layout.settings.local
    memory = bool(layout.note("broker").get("memory", layout.memory.running()))
    broker = ("in-memory broker", layout.memory.program.pid_file, layout.memory.bootstrap)
    airflow = airflow_server(layout, layout.settings)
    airflow_files = airflow.pid_files
    found = [
        ("PostgreSQL", layout.postgres.program.pid_file, layout.postgres.url(user="tidemark_gold_ro")),
        broker if memory else ("Kafka", layout.kafka.program.pid_file, layout.kafka.bootstrap),
        ("Valkey", layout.valkey.program.pid_file, layout.valkey.url),
        ("sink", layout.state / "sink" / "sink.pid", ""),
        *((f"producer {name}", one.pid_file, "") for name, one in workers.producers(layout).items()),
        *((f"Airflow {n}", file, airflow.url if n == "api-server" else "") for n, file in airflow_files.items()),
        ("pages", layout.pages.program.pid_file, layout.pages.url),
        ("watcher", watcher.pid_file(layout), ""),
    ]
    if local.source == "simulator":
        found.insert(
            3,
            ("simulator", layout.state / "simulator" / "simulator.pid", f"127.0.0.1:{local.simulator_port}"),
        )
    return found
