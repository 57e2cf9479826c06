"""The outbox against a Slack that misbehaves: one message, whatever happens."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from alerts.failure import Failure, LateRun, failure_blocks, failure_text, late_blocks, late_text, post_alert
from alerts.slack import Outbox, SlackError, SlackRefusedError, client
from tests.integration.alerts.conftest import Warehouse
from tests.integration.alerts.doubles import CHANNEL, TOKEN, FakeSlack
from tidemark.settings import SlackSettings
from tidemark.warehouse.connection import Connection, connect

KEY = "daily_report:2026-04-13:C0REPORT01:1"
PAYLOAD = {"text": "hello", "blocks": [{"type": "section", "text": {"type": "plain_text", "text": "hello"}}]}


def settings(slack: FakeSlack, **more: Any) -> SlackSettings:
    return SlackSettings(**{"base_url": f"{slack.url}/api", "token": TOKEN, "channel": CHANNEL, **more})


def make(connection: Connection, slack: FakeSlack, **more: Any) -> Outbox:
    return Outbox(connection, client(settings(slack, **more), timeout_s=1), settle_s=0.05)


@pytest.fixture
def outbox(loader: Connection, slack: FakeSlack) -> Outbox:
    return make(loader, slack)


def state(warehouse: Warehouse, key: str = KEY) -> str:
    return str(warehouse.rows("select state from ops.slack_outbox where key = %s", key)[0][0])


def test_a_message_is_posted_with_its_key_and_without_unfurling(outbox: Outbox, slack: FakeSlack) -> None:
    posted = outbox.post(KEY, CHANNEL, PAYLOAD)
    (message,) = slack.messages
    assert posted.fresh
    assert posted.ts == message["ts"]
    assert message["metadata"] == {"event_type": "tidemark_message", "event_payload": {"key": KEY}}
    assert message["unfurl_links"] is False
    assert message["unfurl_media"] is False
    assert message["text"] == "hello"


def test_posting_twice_posts_once(outbox: Outbox, slack: FakeSlack, warehouse: Warehouse) -> None:
    first = outbox.post(KEY, CHANNEL, PAYLOAD)
    second = outbox.post(KEY, CHANNEL, {**PAYLOAD, "text": "changed"})
    assert (second.ts, second.fresh) == (first.ts, False)
    assert slack.keys == [KEY]
    assert state(warehouse) == "sent"
    assert warehouse.rows("select payload->>'text' from ops.slack_outbox") == [("hello",)]


def test_eight_at_once_post_once(warehouse: Warehouse, slack: FakeSlack) -> None:
    slack.moods = ["slow accepted"]
    slack.slow_s = 0.3
    stamps: list[str] = []

    def post() -> None:
        with connect(warehouse.url, "test") as connection:
            stamps.append(make(connection, slack).post(KEY, CHANNEL, PAYLOAD).ts)

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert slack.keys == [KEY]
    assert stamps == [slack.messages[0]["ts"]] * 8


@pytest.mark.parametrize(
    "mood",
    ["slow accepted", "reset accepted", "500 accepted", "page", "internal_error accepted", "fatal_error accepted"],
)
def test_accepted_without_an_answer_is_found_and_not_sent_again(
    outbox: Outbox, slack: FakeSlack, warehouse: Warehouse, mood: str
) -> None:
    slack.moods = [mood]
    posted = outbox.post(KEY, CHANNEL, PAYLOAD)
    assert slack.keys == [KEY]
    assert slack.calls("chat.postMessage") == 1
    assert posted.ts == slack.messages[0]["ts"]
    assert state(warehouse) == "sent"


@pytest.mark.parametrize("mood", ["500", "slow lost", "internal_error"])
def test_lost_without_an_answer_is_sent_again(outbox: Outbox, slack: FakeSlack, mood: str) -> None:
    slack.moods = [mood]
    assert outbox.post(KEY, CHANNEL, PAYLOAD).fresh
    assert slack.keys == [KEY]
    assert slack.calls("chat.postMessage") == 2


def test_it_is_found_on_a_later_page_of_the_history(outbox: Outbox, slack: FakeSlack) -> None:
    for number in range(5):
        outbox.post(f"other:{number}", CHANNEL, PAYLOAD)
    slack.moods = ["reset accepted"]
    outbox.post(KEY, CHANNEL, PAYLOAD)
    for number in range(5, 10):
        outbox.post(f"other:{number}", CHANNEL, PAYLOAD)
    outbox.connection.execute("update ops.slack_outbox set state = 'unknown', ts = null where key = %s", (KEY,))
    assert not outbox.post(KEY, CHANNEL, PAYLOAD).fresh
    assert slack.keys.count(KEY) == 1


def test_a_rate_limit_is_waited_out(outbox: Outbox, slack: FakeSlack) -> None:
    slack.moods = ["429", "429"]
    outbox.post(KEY, CHANNEL, PAYLOAD)
    assert slack.keys == [KEY]
    assert slack.calls("conversations.history") == 0


@pytest.mark.parametrize("code", ["channel_not_found", "not_in_channel", "msg_blocks_too_long", "is_archived"])
def test_a_refusal_is_told_and_can_be_tried_again(
    outbox: Outbox, slack: FakeSlack, warehouse: Warehouse, code: str
) -> None:
    slack.moods = [code]
    with pytest.raises(SlackError, match=code):
        outbox.post(KEY, CHANNEL, PAYLOAD)
    assert state(warehouse) == "pending"
    assert slack.calls("chat.postMessage") == 1
    assert outbox.post(KEY, CHANNEL, {**PAYLOAD, "text": "mended"}).fresh
    assert slack.messages[0]["text"] == "mended"


def test_a_wrong_token_is_told_with_what_to_set(loader: Connection, slack: FakeSlack) -> None:
    with pytest.raises(SlackRefusedError, match=r"invalid_auth.*TIDEMARK_SLACK__TOKEN") as caught:
        make(loader, slack, token="xoxb-wrong").post(KEY, CHANNEL, PAYLOAD)
    assert "xoxb-wrong" not in str(caught.value)
    assert slack.messages == []


def test_nobody_there_is_told_and_nothing_is_unknown(
    loader: Connection, slack: FakeSlack, warehouse: Warehouse
) -> None:
    with pytest.raises(SlackError, match="nothing was posted"):
        make(loader, slack, base_url="http://127.0.0.1:9").post(KEY, CHANNEL, PAYLOAD)
    assert state(warehouse) == "pending"


def test_an_unknown_message_is_never_sent_blindly(outbox: Outbox, slack: FakeSlack, warehouse: Warehouse) -> None:
    slack.moods = ["500 accepted"]
    slack.history_error = "missing_scope"
    for _ in range(2):
        with pytest.raises(SlackError, match=r"missing_scope.*channels:history"):
            outbox.post(KEY, CHANNEL, PAYLOAD)
    assert slack.calls("chat.postMessage") == 1
    assert state(warehouse) == "unknown"
    slack.history_error = ""
    assert not outbox.post(KEY, CHANNEL, PAYLOAD).fresh
    assert slack.keys == [KEY]


def test_a_process_killed_while_sending_posts_once(warehouse: Warehouse, slack: FakeSlack) -> None:
    """kill -9 after Slack accepted and before the answer came: the next run finds the message."""
    slack.moods = ["slow accepted"]
    slack.slow_s = 30
    code = (
        "from alerts.slack import Outbox, client\n"
        "from tidemark.settings import SlackSettings\n"
        "from tidemark.warehouse.connection import connect\n"
        f"slack = client(SlackSettings(base_url={slack.url + '/api'!r}, token={TOKEN!r}))\n"
        f"Outbox(connect({warehouse.url!r}, 'killed'), slack).post({KEY!r}, {CHANNEL!r}, {PAYLOAD!r})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3])
    try:
        while not slack.messages:
            assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    assert state(warehouse) == "sending"
    with connect(warehouse.url, "next") as connection:
        assert not make(connection, slack).post(KEY, CHANNEL, PAYLOAD).fresh
    assert slack.keys == [KEY]


def test_a_reply_is_looked_for_in_its_thread(outbox: Outbox, slack: FakeSlack) -> None:
    first = outbox.post(KEY, CHANNEL, PAYLOAD)
    slack.moods = ["reset accepted"]
    outbox.post(f"{KEY}b", CHANNEL, {**PAYLOAD, "thread_ts": first.ts})
    assert slack.keys == [KEY, f"{KEY}b"]
    assert slack.calls("conversations.replies") >= 1


def test_the_outbox_refuses_a_connection_that_keeps_states_back(loader: Connection, slack: FakeSlack) -> None:
    loader.autocommit = False
    with pytest.raises(ValueError, match="autocommit"):
        make(loader, slack)


# --- failures -----------------------------------------------------------------------------------------------

FAILED = Failure(
    "gold__build", "ohlcv_1m.run", "manual__2026", 2, "http://127.0.0.1:8080/log?a=1|2", "boom <!channel> ```"
)


def post_failure(where: SlackSettings) -> str | None:
    return post_alert(where, failure_text(FAILED), failure_blocks(FAILED))


def test_a_failure_is_posted_to_the_alert_channel(slack: FakeSlack) -> None:
    assert post_failure(settings(slack, channel="C_OTHER", alert_channel=CHANNEL)) == slack.messages[0]["ts"]
    told = str(slack.messages[0]["blocks"])
    assert "gold__build" in told
    assert "<http://127.0.0.1:8080/log?a=1%7C2|Log>" in told
    assert "<!channel>" not in told


def test_a_failure_without_slack_is_nobodys_failure(slack: FakeSlack) -> None:
    assert post_failure(settings(slack, token="")) is None
    assert slack.requests == []


def test_a_failure_that_slack_refuses_is_an_error(slack: FakeSlack) -> None:
    slack.moods = ["is_archived"]
    with pytest.raises(SlackError, match="is_archived"):
        post_failure(settings(slack))


def test_a_late_run_is_told_with_its_runbook(slack: FakeSlack) -> None:
    late = LateRun("gold__build", "scheduled__2026`", 20, "running")
    assert late_text(late) == (
        "gold__build is late: not over 20 minutes after it was queued (run scheduled__2026`, running)"
    )
    post_alert(settings(slack), late_text(late), late_blocks(late))
    told = str(slack.messages[0]["blocks"])
    assert "not over 20 minutes" in told
    assert "`scheduled__2026'`" in told
    assert "docs/runbooks/dag-late.md" in told
