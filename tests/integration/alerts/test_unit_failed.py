"""A failed systemd unit, told in Slack: by the command that ``OnFailure=`` runs, to a Slack that listens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alerts.unit_failed import UnitFailure, blocks
from tests.integration.alerts.doubles import CHANNEL, TOKEN, FakeSlack
from tidemark.settings import PROJECT_ROOT

UNIT = "tidemark-sink@1.service"
SYSTEMCTL = """#!/bin/sh
echo Result=watchdog; echo ExecMainStatus=6; echo NRestarts=3
"""
JOURNALCTL = """#!/bin/sh
case "$*" in *"--unit=tidemark-sink@1.service"*) echo '{"event": "waiting"}'; echo 'a <b> & ``` c';; esac
"""


def run(tmp_path: Path, unit: str, slack: FakeSlack | None, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """As the unit runs it: the token is a credential, systemd's tools are first in PATH."""
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    credentials = tmp_path / "credentials"
    credentials.mkdir(exist_ok=True)
    (credentials / "TIDEMARK_SLACK__TOKEN").write_text(token)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMARK_")} | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "CREDENTIALS_DIRECTORY": str(credentials),
        "TIDEMARK_SLACK__ALERT_CHANNEL": CHANNEL,
        "TIDEMARK_SLACK__BASE_URL": f"{slack.url}/api/" if slack else "http://127.0.0.1:9/api/",
    }
    command = [sys.executable, "-m", "alerts.unit_failed", unit]
    return subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=60)


def test_slack_hears_what_failed_where_and_why(tmp_path: Path, slack: FakeSlack) -> None:
    done = run(tmp_path, UNIT, slack)
    assert done.returncode == 0, done.stderr
    (message,) = slack.messages
    assert message["channel"] == CHANNEL
    assert message["text"].startswith(f"{UNIT} on ")
    assert "hung and was killed by the watchdog (result watchdog, exit status 6, 3 restarts)" in message["text"]
    said = "\n".join(block["text"]["text"] for block in message["blocks"])
    assert "docs/runbooks/worker-down.md" in said
    assert "a &lt;b&gt; &amp; ''' c" in said


def test_without_a_token_it_is_said_where_it_runs(tmp_path: Path, slack: FakeSlack) -> None:
    done = run(tmp_path, UNIT, slack, token="")
    assert (done.returncode, slack.messages) == (0, [])
    assert "nobody is told" in done.stderr


def test_a_slack_that_is_not_there_is_an_error_that_says_all(tmp_path: Path) -> None:
    done = run(tmp_path, UNIT, None)
    assert done.returncode == 2
    assert "killed by the watchdog" in done.stderr
    assert "Slack was not told" in done.stderr


@pytest.mark.parametrize("unit", ["--help-me", "a b", "x" * 300, "<!channel>"])
def test_what_is_no_unit_is_refused(tmp_path: Path, slack: FakeSlack, unit: str) -> None:
    assert run(tmp_path, unit, slack).returncode == 2
    assert slack.messages == []


def test_a_long_journal_is_cut_to_its_end() -> None:
    text = blocks(UnitFailure("u", "h", log="x" * 9_000 + "the end"))[1]["text"]["text"]
    assert len(text) < 2_500
    assert text.endswith("the end```")
