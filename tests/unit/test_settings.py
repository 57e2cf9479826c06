"""Settings: every field is listed in .env.example, malformed ones are named, secrets stay hidden."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tidemark import settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(settings.os.environ):
        if name.startswith("TIDEMARK_"):
            monkeypatch.delenv(name)


def test_the_example_lists_every_setting_and_no_other() -> None:
    example = set(re.findall(r"^(TIDEMARK_\w+)=", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE))
    fields = {
        f"TIDEMARK_{role}__{field}".upper()
        for role, info in settings.Settings.model_fields.items()
        for field in info.annotation.model_fields  # type: ignore[union-attr]
    }
    assert example == fields


def test_the_example_is_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    defaults = settings.load()
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text("utf-8"))
    assert settings.load() == defaults


def test_one_field_changes_and_the_rest_of_its_role_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_UPBIT__WS_URL", "ws://127.0.0.1:9443")
    assert settings.load().upbit.ws_url == "ws://127.0.0.1:9443"
    assert settings.load().upbit.rest_url == "https://api.upbit.com"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIDEMARK_UPBIT__WS_URL", "wss://api.upbit.com/websocket/v1"),
        ("TIDEMARK_LAKE__URL", "s3://bucket"),
        ("TIDEMARK_KAFKA__EPOCH", "-1"),
        ("TIDEMARK_SINK__ROTATE_ROW", "5"),
    ],
)
def test_a_malformed_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(settings.SettingsError, match=name):
        settings.load()


def test_a_credential_of_systemd_is_a_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "TIDEMARK_SLACK__TOKEN").write_text("xoxb-1\n")
    (tmp_path / "credentials" / "gcs.json").write_text("{}")
    monkeypatch.setenv("TIDEMARK_SLACK__CHANNEL", "C1")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    slack = settings.load().slack
    assert (slack.token.get_secret_value(), slack.channel) == ("xoxb-1", "C1")
    monkeypatch.setenv("TIDEMARK_SLACK__TOKEN", "xoxb-2")
    assert settings.load().slack.token.get_secret_value() == "xoxb-2"


def test_credentials_that_are_not_there_are_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "nowhere"))
    assert settings.load() == settings.Settings()


def test_an_unknown_role_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_LAKEE__URL", "file:///tmp/x")
    with pytest.raises(settings.SettingsError, match="TIDEMARK_LAKEE__URL"):
        settings.load()


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLACK__TOKEN", "LLM__API_KEY", "WAREHOUSE__DBT_PASSWORD"):
        monkeypatch.setenv(f"TIDEMARK_{name}", "xoxb-very-secret")
    assert "very-secret" not in repr(settings.load())
