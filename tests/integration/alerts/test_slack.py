"""The outbox against a Slack that misbehaves: one message, whatever happens."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alerts import slack as slack_module
from alerts.failure import Failure, LateRun, failure_blocks, failure_text, late_blocks, late_text, post_alert
from alerts.slack import SETTLE_S, Outbox, SlackError, SlackRefusedError, client, send
from alerts.slack_api import LATER, REFUSALS
from tests.integration.alerts.conftest import Warehouse
from tests.integration.alerts.doubles import CHANNEL, TOKEN, FakeSlack, Raw
from tidemark.settings import SlackSettings
from tidemark.warehouse.connection import Connection, connect

KEY = "daily_report:2026-04-13:C0REPORT01:1"
PAYLOAD = {"text": "hello", "blocks": [{"type": "section", "text": {"type": "plain_text", "text": "hello"}}]}


def settings(slack: FakeSlack, **more: Any) -> SlackSettings:
    return SlackSettings(**{"base_url": f"{slack.url}/api", "token": TOKEN, "channel": CHANNEL, **more})


OK = b'{"ok": true, "ts": "1776049200.000001"}'
#: Answers after which nobody knows whether the message was posted.
UNCLEAR = {
    "400": Raw(400, b"bad request"),
    "403": Raw(403, b"<html>blocked by a proxy</html>"),
    "403 with a code": Raw(403, b'{"ok": false, "error": "invalid_auth"}'),
    "408": Raw(408),
    "429": Raw(429, b'{"ok": false, "error": "ratelimited"}', {"Retry-After": "0"}),
    "429 without a time": Raw(429),
    "502": Raw(502, b"<html>bad gateway</html>"),
    "null": Raw(body=b"null"),
    "list": Raw(body=b"[1]"),
    "string": Raw(body=b'"ok"'),
    "number": Raw(body=b"1e999"),
    "empty": Raw(),
    "empty object": Raw(body=b"{}"),
    "not JSON": Raw(body=b"{"),
    "nested": Raw(body=b"[" * 200_000),
    "not UTF-8": Raw(body=b"\xff\xfe{"),
    "ok without a time stamp": Raw(body=b'{"ok": true}'),
    "ok with a number for a time stamp": Raw(body=b'{"ok": true, "ts": 1}'),
    "ok with a text for a time stamp": Raw(body=b'{"ok": true, "ts": "now\\u0000"}'),
    "ok as a text": Raw(body=b'{"ok": "true", "ts": "1776049200.000001"}'),
    "an error that is not listed": Raw(body=b'{"ok": false, "error": "something_new"}'),
    "an error with NUL": Raw(body=b'{"ok": false, "error": "is_archived\\u0000"}'),
    "an error with a lone surrogate": Raw(body=b'{"ok": false, "error": "\\ud800"}'),
    "an error that is a list": Raw(body=b'{"ok": false, "error": ["is_archived"]}'),
    "refused and ok": Raw(body=b'{"ok": null, "error": "is_archived"}'),
    "gzip that is none": Raw(body=OK, headers={"Content-Encoding": "gzip"}),
    "gzip that nobody says": Raw(body=gzip.compress(OK)),
    "redirect to itself": Raw(302, headers={"Location": "/api/chat.postMessage"}),
    "redirect to nobody": Raw(307, headers={"Location": "http://127.0.0.1:9/"}),
    "huge": Raw(body=b" " * 1_000_000, repeat=300),
    "drip": Raw(drip=True),
    "a header too long": Raw(headers={"X-Long": "x" * 70_000}),
}


def make(
    connection: Connection, slack: FakeSlack, *, total_s: float = 120.0, settle_s: float = 0.05, **more: Any
) -> Outbox:
    return Outbox(connection, client(settings(slack, **more), timeout_s=1), settle_s=settle_s, total_s=total_s)


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


def test_accepted_with_an_unclear_answer_is_found_and_not_sent_again(
    outbox: Outbox, slack: FakeSlack, warehouse: Warehouse
) -> None:
    for case, answer in UNCLEAR.items():
        slack.moods, slack.requests, slack.messages = [answer], [], []
        started = time.monotonic()
        posted = outbox.post(case, CHANNEL, PAYLOAD)
        assert time.monotonic() - started < 10, case
        assert slack.keys == [case]
        assert slack.calls("chat.postMessage") == 1, case
        assert posted.ts == slack.messages[0]["ts"], case
        assert state(warehouse, case) == "sent", case


def test_lost_with_an_unclear_answer_is_sent_again(outbox: Outbox, slack: FakeSlack) -> None:
    for case, answer in UNCLEAR.items():
        slack.moods, slack.requests, slack.messages = [replace(answer, accept=False)], [], []
        assert outbox.post(case, CHANNEL, PAYLOAD).fresh, case
        assert slack.keys == [case]
        assert slack.calls("chat.postMessage") == 2, case


def test_a_compressed_answer_is_read(outbox: Outbox, slack: FakeSlack) -> None:
    slack.moods = [Raw(body=gzip.compress(OK), headers={"Content-Encoding": "gzip"})]
    assert outbox.post(KEY, CHANNEL, PAYLOAD).ts == "1776049200.000001"
    assert slack.calls("conversations.history") == 0


UNREADABLE = {
    "no list": Raw(body=b'{"ok": true}'),
    "null": Raw(body=b'{"ok": true, "messages": null}'),
    "more without a cursor": Raw(body=b'{"ok": true, "messages": [], "has_more": true}'),
    "403": Raw(403),
    "page": Raw(body=b"<html>a proxy's page</html>"),
    "drip": Raw(drip=True),
    "redirect": Raw(302, headers={"Location": "/api/conversations.history"}),
}


def test_a_history_that_cannot_be_read_shows_nothing(
    outbox: Outbox, slack: FakeSlack, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_module, "_LOOK_PAUSE_S", 0.01)
    for case, answer in UNREADABLE.items():
        slack.moods, slack.messages = ["500 accepted"], []
        slack.history_moods = [answer] * 3
        with pytest.raises(SlackError, match="isn't sent blindly"):
            outbox.post(case, CHANNEL, PAYLOAD)
        assert state(warehouse, case) == "unknown", case
        assert not outbox.post(case, CHANNEL, PAYLOAD).fresh, case
        assert slack.keys == [case]


def test_a_history_that_answers_late_is_asked_again(
    outbox: Outbox, slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_module, "_LOOK_PAUSE_S", 0.01)
    slack.moods = ["500 accepted"]
    slack.history_moods = [Raw(429, headers={"Retry-After": "0"}), Raw(503)]
    outbox.post(KEY, CHANNEL, PAYLOAD)
    assert slack.keys == [KEY]


def test_messages_of_others_in_any_shape_are_passed_over(outbox: Outbox, slack: FakeSlack) -> None:
    strange: list[Any] = [None, 1, [], {}, {"metadata": []}, {"metadata": {"event_payload": [1]}}]
    strange += [{"metadata": {"event_payload": {"key": [KEY]}}}, {"metadata": {"event_payload": {"key": None}}}]
    slack.moods = ["500 accepted"]
    slack.history_moods = [Raw(body=json.dumps({"ok": True, "messages": strange}).encode())]
    outbox.post(KEY, CHANNEL, PAYLOAD)
    assert slack.keys == [KEY]


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


def test_a_rate_limit_beyond_the_time_is_not_waited_out(
    loader: Connection, slack: FakeSlack, warehouse: Warehouse
) -> None:
    slack.moods = [Raw(429, headers={"Retry-After": "86400"}, accept=False)]
    started = time.monotonic()
    with pytest.raises(SlackError, match="TIDEMARK_SLACK__TIMEOUT_S"):
        make(loader, slack).post(KEY, CHANNEL, PAYLOAD)
    assert time.monotonic() - started < 10
    assert state(warehouse) == "unknown"
    assert make(loader, slack).post(KEY, CHANNEL, PAYLOAD).fresh
    assert slack.keys == [KEY]


def test_all_attempts_together_keep_the_time(loader: Connection, slack: FakeSlack, warehouse: Warehouse) -> None:
    slack.moods = [Raw(accept=False, drip=True)] * 9
    started = time.monotonic()
    with pytest.raises(SlackError, match="Run again later"):
        make(loader, slack, total_s=1.5).post(KEY, CHANNEL, PAYLOAD)
    assert time.monotonic() - started < 10
    assert state(warehouse) == "unknown"


def test_the_time_is_for_all_messages_of_a_report(loader: Connection, slack: FakeSlack) -> None:
    outbox = make(loader, slack, total_s=1.5)
    outbox.post(KEY, CHANNEL, PAYLOAD)
    slack.moods = [Raw(accept=False, drip=True)] * 9
    started = time.monotonic()
    with pytest.raises(SlackError, match="Run again later"):
        outbox.post(f"{KEY}b", CHANNEL, PAYLOAD)
    assert time.monotonic() - started < 10


def test_every_refusal_that_no_retry_fixes_is_told_at_once_with_advice(
    outbox: Outbox, slack: FakeSlack, warehouse: Warehouse
) -> None:
    for code, advice in REFUSALS.items():
        slack.moods, slack.requests = [code], []
        with pytest.raises(SlackRefusedError) as caught:
            outbox.post(code, CHANNEL, PAYLOAD)
        assert f"{code}; {advice}" in str(caught.value)
        assert len(advice) > 20, code
        assert state(warehouse, code) == "pending", code
        assert [method for method, _ in slack.requests] == ["chat.postMessage"], code


def test_the_refusals_that_were_retried_are_in_the_table() -> None:
    codes = "account_inactive token_expired is_archived restricted_action org_login_required team_access_not_granted "
    codes += (
        "invalid_blocks msg_blocks_too_long channel_not_found not_in_channel token_revoked invalid_auth missing_scope"
    )
    assert set(codes.split()) <= set(REFUSALS)
    assert set(REFUSALS) & set(LATER) == set()


@pytest.mark.parametrize("code", sorted(LATER))
def test_a_limit_is_told_and_the_run_may_be_repeated(
    outbox: Outbox, slack: FakeSlack, warehouse: Warehouse, code: str
) -> None:
    slack.moods = [code]
    with pytest.raises(SlackError, match=f"{code}.*run again later") as caught:
        outbox.post(KEY, CHANNEL, PAYLOAD)
    assert not isinstance(caught.value, SlackRefusedError)
    assert state(warehouse) == "pending"


def test_after_a_refusal_the_message_can_be_changed_and_posted(outbox: Outbox, slack: FakeSlack) -> None:
    slack.moods = ["is_archived"]
    with pytest.raises(SlackRefusedError, match="is_archived"):
        outbox.post(KEY, CHANNEL, PAYLOAD)
    assert outbox.post(KEY, CHANNEL, {**PAYLOAD, "text": "mended"}).fresh
    assert slack.messages[0]["text"] == "mended"


def test_a_refusal_of_a_message_in_doubt_leaves_it_in_doubt(
    outbox: Outbox, slack: FakeSlack, warehouse: Warehouse
) -> None:
    slack.moods = ["500", "is_archived"]
    with pytest.raises(SlackRefusedError):
        outbox.post(KEY, CHANNEL, PAYLOAD)
    assert state(warehouse) == "unknown"


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


def test_the_next_run_at_once_waits_for_a_history_that_lags(warehouse: Warehouse, slack: FakeSlack) -> None:
    """Killed after Slack accepted; the next run starts at once, and the channel shows the message only later."""
    slack.lag_s = 0.8
    with connect(warehouse.url, "killed") as connection:
        outbox = make(connection, slack)
        outbox._enter(KEY, CHANNEL, PAYLOAD)
        outbox._mark(KEY, "sending", count=True)
        outbox._send(KEY, outbox._row(KEY), 1.0)
    with connect(warehouse.url, "next") as connection:
        assert not make(connection, slack, settle_s=2.0).post(KEY, CHANNEL, PAYLOAD).fresh
    assert slack.keys == [KEY]


@pytest.mark.parametrize("mood", ["500 accepted", "slow accepted", "reset accepted"])
def test_the_same_run_waits_for_a_history_that_lags(loader: Connection, slack: FakeSlack, mood: str) -> None:
    slack.lag_s, slack.moods = 0.8, [mood]
    make(loader, slack, settle_s=2.0).post(KEY, CHANNEL, PAYLOAD)
    assert slack.keys == [KEY]


def test_a_history_may_lag_for_eight_seconds() -> None:
    assert SETTLE_S >= 2 * 8


def test_a_message_that_was_in_doubt_long_ago_is_looked_for_once(
    loader: Connection, slack: FakeSlack, warehouse: Warehouse
) -> None:
    outbox = make(loader, slack, settle_s=20.0)
    outbox._enter(KEY, CHANNEL, PAYLOAD)
    outbox._mark(KEY, "sending", count=True)
    warehouse.admin.execute("update ops.slack_outbox set updated_at = now() - interval '1 hour'")
    started = time.monotonic()
    assert outbox.post(KEY, CHANNEL, PAYLOAD).fresh
    assert time.monotonic() - started < 10
    assert slack.calls("conversations.history") == 1


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


def test_a_failure_with_an_unclear_answer_is_an_error_in_time(
    slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_module, "_ALERT_S", 0.5)
    for case, answer in UNCLEAR.items():
        slack.moods, slack.requests = [answer], []
        started = time.monotonic()
        with pytest.raises(SlackError):
            send(settings(slack), CHANNEL, "text", [])
        assert time.monotonic() - started < 8, case
        assert len(slack.requests) == 1, case


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
