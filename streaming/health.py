"""Whether a worker lives and can do its work, as its own work loop shows it.

Lives here: the pulse that the loop gives, what it tells systemd, and the answers of ``/livez`` and ``/readyz``.
Doesn't: HTTP (``metrics``), what a worker needs to be ready (each worker's own ``report``).

Alive is: the loop has turned a moment ago. Nothing else feeds the watchdog, no thread and no timer, so a loop that
hangs is killed. Ready is: everything that the work needs is there, by the worker's own account.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from streaming.notify import ServiceManager

#: While the worker gets ready: how much longer systemd shall wait, told again and again.
_EXTENSION_S: Final = 180.0
_UNWATCHED_S: Final = 15.0
_LONGEST: Final = 300


@dataclass(frozen=True)
class Report:
    """How a worker is. ``failing`` is what keeps it from its work, by name and why; empty: it is ready.

    ``degraded`` is what is wrong and doesn't stop the rest, ``facts`` what else a person may want to see.
    """

    failing: Mapping[str, str] = field(default_factory=dict)
    degraded: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Pulse:
    """The work loop's sign of life: :meth:`beat` once a turn.

    To systemd it says READY=1 when ``report`` has nothing failing for the first time, and WATCHDOG=1 from then on;
    until then it asks for more time.
    """

    def __init__(
        self,
        manager: ServiceManager | None = None,
        report: Callable[[], Report] = Report,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ready = False
        self._manager = manager or ServiceManager()
        self._report = report
        self._now = now
        self._at = now()
        self._tell_at = now()
        self._every = (self._manager.watchdog_s or _UNWATCHED_S) / 3
        self._status = ""

    @property
    def age_s(self) -> float:
        """Seconds since the loop turned."""
        return self._now() - self._at

    def beat(self) -> None:
        """The loop has turned. Costs a clock reading; now and then a datagram."""
        self._at = now = self._now()
        if self._manager.listens and now >= self._tell_at:
            self._tell(now)

    def stopping(self) -> None:
        """The worker ends: what it still has to write may take a while."""
        self._manager.tell("STOPPING=1", "STATUS=writing what was gathered")

    def _tell(self, now: float) -> None:
        report = self._report()
        lines: list[str] = []
        if self.ready:
            lines.append("WATCHDOG=1")
        elif not report.failing:
            self.ready = True
            lines += ["READY=1", "WATCHDOG=1"]
        else:
            lines.append(f"EXTEND_TIMEOUT_USEC={int(_EXTENSION_S * 1_000_000)}")
        status = _in_words(report)
        if status != self._status:
            self._status = status
            lines.append(f"STATUS={status}")
        self._manager.tell(*lines)
        # Not ready yet: look more often, so that systemd knows soon.
        self._tell_at = now + (self._every if self.ready else min(self._every, 1.0))


class Health:
    """The answers to whoever asks from outside."""

    def __init__(self, worker: str, pulse: Pulse, report: Callable[[], Report], stuck_after_s: float) -> None:
        self._worker = worker
        self._pulse = pulse
        self._report = report
        self._stuck_after_s = stuck_after_s

    def live(self) -> tuple[bool, dict[str, Any]]:
        """Whether the loop turns, and why not."""
        failing = self._stuck()
        return not failing, self._answer(failing, {}, {"loop_turned_s_ago": round(self._pulse.age_s, 3)})

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether the worker can do its work, and why not. A loop that stands is never ready."""
        report = self._report()
        failing = {**self._stuck(), **report.failing}
        return not failing, self._answer(failing, report.degraded, report.facts)

    def _stuck(self) -> dict[str, str]:
        age = self._pulse.age_s
        if age <= self._stuck_after_s:
            return {}
        return {"loop": f"the work loop has not turned for {age:.0f} s (limit {self._stuck_after_s:.0f} s)"}

    def _answer(
        self, failing: Mapping[str, str], degraded: Mapping[str, str], facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        status = "failing" if failing else "degraded" if degraded else "ok"
        return {"status": status, "worker": self._worker, "failing": dict(failing), "degraded": dict(degraded), **facts}


def _in_words(report: Report) -> str:
    parts = [f"{name}: {why}" for name, why in {**report.failing, **report.degraded}.items()]
    text = "; ".join(parts) or "ready"
    return " ".join(text.split())[:_LONGEST]
