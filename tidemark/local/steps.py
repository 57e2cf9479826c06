"""Steps in parallel where they may be, with their progress on the screen.

Lives here: running named steps after the ones they need, showing each with its time; plain lines when the
output is no terminal. Doesn't: what the steps do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tidemark.local.process import LocalError

#: Without a terminal, a step that takes long says so every so many seconds.
_PLAIN_EVERY_S = 15.0

#: Without a terminal nothing is folded or cut: lines are for files and CI.
_PLAIN_WIDTH = 180

Say = Callable[[str], None]


def make_console() -> Console:
    """The console for people: as wide as the terminal, or wide enough that plain lines stay whole."""
    console = Console()
    return console if console.is_terminal else Console(width=_PLAIN_WIDTH)


@dataclass(frozen=True)
class Step:
    """One thing to do: ``action`` gets a function to say how far it is, and returns what it came to."""

    name: str
    action: Callable[[Say], str | None]
    after: Sequence[str] = ()


@dataclass
class _Line:
    name: str
    state: str = "running"
    detail: str = ""
    began: float = field(default_factory=time.monotonic)
    took: float = 0.0
    told: float = field(default_factory=time.monotonic)


class Progress:
    """The steps on the screen; any thread may report."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: list[_Line] = []
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Have every step that still runs end when it next reports."""
        self._cancelled.set()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While inside, steps are shown as they go."""
        if not self._console.is_terminal:
            yield
            return
        with Live(get_renderable=self._render, console=self._console, refresh_per_second=6) as live:
            self._live = live
            yield
        self._live = None

    @contextmanager
    def step(self, name: str) -> Iterator[_Line]:
        """One step: its time runs while inside; an exception marks it failed."""
        line = _Line(name)
        with self._lock:
            self._lines.append(line)
        try:
            yield line
        except BaseException:
            self._end(line, "failed")
            raise
        self._end(line, "done")

    def say(self, line: _Line, detail: str) -> None:
        """Show how far a step is.

        Raises:
            LocalError: another step has failed, so this one is to end.
        """
        if self._cancelled.is_set():
            raise LocalError(f"{line.name} was given up, because another step failed")
        line.detail = detail
        now = time.monotonic()
        if self._live is None and now - line.told > _PLAIN_EVERY_S:
            line.told = now
            self._console.print(f"  …  {line.name}: {detail} ({now - line.began:.0f} s)", highlight=False)

    def _end(self, line: _Line, state: str) -> None:
        line.state, line.took = state, time.monotonic() - line.began
        if self._live is None:
            mark = "ok" if state == "done" else "FAILED"
            self._console.print(f"  {mark:6} {line.name} ({line.took:.1f} s) {line.detail}".rstrip(), highlight=False)

    def _render(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        for line in list(self._lines):
            table.add_row(
                _mark(line), Text(line.name), Text(_seconds(line), style="dim"), Text(line.detail, style="dim")
            )
        return Group(table)


def run(steps: Sequence[Step], progress: Progress) -> None:
    """Run all steps, each as soon as those it needs are done.

    Raises:
        LocalError: a step failed. No further step is begun; those under way end when they next report.
    """
    waiting = {step.name: step for step in steps}
    done: set[str] = set()
    under_way: dict[Future[None], str] = {}
    failure: BaseException | None = None
    pool = ThreadPoolExecutor(max_workers=max(len(steps), 1))
    try:
        while under_way or (waiting and failure is None):
            for step in [s for s in waiting.values() if failure is None and done.issuperset(s.after)]:
                under_way[pool.submit(_run_one, waiting.pop(step.name), progress)] = step.name
            if not under_way:
                raise LocalError(f"steps wait for each other: {', '.join(waiting)}")
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                done.add(under_way.pop(future))
                failure = failure or future.exception()
            if failure is not None:
                progress.cancel()
    finally:
        progress.cancel()
        pool.shutdown(wait=False)  # nothing is under way any more, unless the user interrupts
    if failure is not None:
        raise failure


def _run_one(step: Step, progress: Progress) -> None:
    with progress.step(step.name) as line:
        line.detail = step.action(partial(progress.say, line)) or ""


def _mark(line: _Line) -> RenderableType:
    if line.state == "running":
        return Spinner("dots", style="cyan")
    return Text("✓", style="green") if line.state == "done" else Text("✗", style="bold red")


def _seconds(line: _Line) -> str:
    seconds = line.took if line.state != "running" else time.monotonic() - line.began
    return f"{seconds:.0f} s" if seconds >= 1 or line.state == "running" else f"{seconds:.1f} s"
