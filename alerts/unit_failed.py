"""``python -m alerts.unit_failed UNIT``: tell Slack that a systemd unit has failed.

Lives here: what systemd knows of the unit, the message, exit codes. Doesn't: when it is called (``OnFailure=`` in
``infra/systemd``), posting (``alerts.failure``).
"""

from __future__ import annotations

import argparse
import re
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from alerts.failure import code, fenced, post_alert, section
from alerts.report.blocks import escape
from alerts.slack import SlackError
from tidemark import settings as config

_LINES: Final = 12
_LONGEST: Final = 2_000
_TIMEOUT_S: Final = 10
_UNIT: Final = re.compile(r"[A-Za-z0-9:_.@\\-]{1,255}")
_WORDS: Final = {
    "exit-code": "ended with an error",
    "signal": "was killed by a signal",
    "core-dump": "crashed",
    "watchdog": "hung and was killed by the watchdog",
    "timeout": "did not start or stop in time",
    "oom-kill": "was killed for want of memory",
    "start-limit-hit": "failed again and again; systemd has given up",
    "protocol": "did not say that it is ready",
}


@dataclass(frozen=True, slots=True)
class UnitFailure:
    """What is known of a failed unit; ``log`` is the end of its journal, empty where it can't be read."""

    unit: str
    host: str
    result: str = ""
    status: str = ""
    restarts: str = ""
    log: str = ""

    def in_words(self) -> str:
        """One line: for notifications, and where Slack isn't set."""
        text = f"{self.unit} on {self.host} {_WORDS.get(self.result, 'has failed')}"
        known = [f"result {self.result}"] if self.result else []
        known += [f"exit status {self.status}"] if self.status not in ("", "0") else []
        known += [f"{self.restarts} restarts"] if self.restarts not in ("", "0") else []
        return f"{text} ({', '.join(known)})" if known else text


def look(unit: str) -> UnitFailure:
    """Ask systemd. What it doesn't say is left out: the message goes out all the same."""
    said = _shown(_output("systemctl", "show", unit, "--property=Result,ExecMainStatus,NRestarts"))
    log = _output("journalctl", f"--unit={unit}", f"--lines={_LINES}", "--output=cat", "--no-pager", "--quiet")
    return UnitFailure(
        unit,
        socket.gethostname(),
        result="" if said.get("Result") == "success" else said.get("Result", ""),
        status=said.get("ExecMainStatus", ""),
        restarts=said.get("NRestarts", ""),
        log=log.strip(),
    )


def blocks(failure: UnitFailure) -> list[dict[str, Any]]:
    """Block Kit: what failed where and how, the end of its journal, where the runbook is."""
    words = _WORDS.get(failure.result, "has failed")
    head = f":red_circle: *{escape(failure.unit)}* on `{code(failure.host)}` {escape(words)}"
    found = [section(f"{head}\n{escape(failure.in_words())}\nRunbook: `docs/runbooks/worker-down.md`")]
    return [*found, *([fenced(failure.log[-_LONGEST:])] if failure.log else [])]


def main(arguments: Sequence[str] | None = None) -> int:
    """0: told, or Slack isn't set (then the line is on stderr); 2: not told, and why."""
    parser = argparse.ArgumentParser(prog="python -m alerts.unit_failed", description="Tell Slack that a unit failed.")
    parser.add_argument("unit", help="such as tidemark-sink@1.service")
    unit = parser.parse_args(arguments).unit
    if not _UNIT.fullmatch(unit) or unit.startswith("-"):
        sys.stderr.write(f"unit_failed: {unit!r} is no unit's name\n")
        return 2
    failure = look(unit)
    try:
        told = post_alert(config.load().slack, failure.in_words(), blocks(failure))
    except (SlackError, config.SettingsError) as error:
        sys.stderr.write(f"{failure.in_words()}; Slack was not told: {error}\n")
        return 2
    sys.stderr.write(f"{failure.in_words()}{'' if told else '; Slack is not set, so nobody is told'}\n")
    return 0


def _output(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _shown(text: str) -> Mapping[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


if __name__ == "__main__":
    sys.exit(main())
