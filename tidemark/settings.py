"""The only reader of the environment.

Lives here: every setting, as one frozen model a role; ``TIDEMARK_<ROLE>__<FIELD>`` in the environment or in
``.env`` (``.env.example`` lists all), or a file of that name in the directory that systemd gives a unit its
credentials in. Doesn't: names (``naming``) and anything that does work. Other modules
take the model of their role as a parameter; only entry points call :func:`load`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

PROJECT_ROOT = Path(__file__).resolve().parent.parent


class SettingsError(Exception):
    """The environment holds a setting that is missing, unknown or malformed; the message names it."""


def _origin(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"{url!r} must be scheme://host:port without a path: paths belong to the exchange")
    return url.rstrip("/")


def _lake(url: str) -> str:
    if not url.startswith(("gs://", "file:///")):
        raise ValueError(f"{url!r} must be gs://bucket/prefix or file:///directory")
    return url.rstrip("/")


Origin = Annotated[str, AfterValidator(_origin)]
LakeUrl = Annotated[str, AfterValidator(_lake)]


class Role(BaseModel):
    """Base of every role's settings: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ExchangeSettings(Role):
    """One exchange: where it is and what is taken from it."""

    ws_url: Origin
    rest_url: Origin
    datasets: tuple[str, ...] = ("ticker", "trade", "orderbook", "candle")
    #: The exchange's own codes; empty: every market it lists.
    codes: tuple[str, ...] = ()
    #: Codes that share a connection.
    codes_per_connection: int = Field(default=200, ge=1)
    frame_format: Literal["DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST"] = "SIMPLE"
    candle_intervals: tuple[str, ...] = ("1m",)


class PlatformSettings(Role):
    """What all roles share."""

    #: The exchanges that are carried.
    exchanges: tuple[Literal["upbit", "okx", "binance"], ...] = ("upbit", "okx", "binance")


class KafkaSettings(Role):
    """The broker (any that speaks Kafka's protocol)."""

    bootstrap_servers: str = "127.0.0.1:9092"
    #: Raised by hand when topics were made anew under the same cluster id; the local stack raises it by itself.
    epoch: int = Field(default=0, ge=0)
    #: Name of the cluster in the lake's paths; empty: the id that the broker reports.
    cluster: str = ""
    #: The broker is librdkafka's in-memory one, which drops its oldest records silently.
    memory: bool = False


class LakeSettings(Role):
    """The object store."""

    url: LakeUrl = f"file://{PROJECT_ROOT}/.tidemark/lake"
    #: An emulator's address, for tests; empty: Google Cloud Storage itself.
    gcs_endpoint: str = ""


class WarehouseSettings(Role):
    """PostgreSQL."""

    url: SecretStr = SecretStr("postgresql://tidemark_loader@127.0.0.1:5433/tidemark")
    #: Who may create schemas and roles (``tidemark migrate``); empty: the same as ``url``.
    admin_url: SecretStr = SecretStr("")
    dbt_user: str = "tidemark_dbt"
    dbt_password: SecretStr = SecretStr("")
    #: Given to the read-only role of gold by ``tidemark migrate``; empty: it keeps what it has.
    gold_reader_password: SecretStr = SecretStr("")
    #: The same for the read-only role of people on call, which reads every schema.
    ops_reader_password: SecretStr = SecretStr("")
    dbt_threads: int = Field(default=2, ge=1, le=4)
    #: How many landing objects one load copies at once, each over a connection of its own.
    load_connections: int = Field(default=2, ge=1, le=16)


class ValkeySettings(Role):
    """The hot store."""

    url: str = "redis://127.0.0.1:6380/0"


class ProducerSettings(Role):
    """The socket side of streaming."""

    worker: str = "producer-1"
    #: Bytes in librdkafka's queue at which the socket is no longer read.
    max_buffer_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    #: What the kernel may hold of one unread socket. Left to itself it grows to tens of MB, which the exchange
    #: believes delivered. The kernel doubles it, and caps it at net.core.rmem_max.
    receive_buffer_bytes: int = Field(default=1024 * 1024, ge=64 * 1024)
    reconnect_min_s: float = Field(default=0.5, gt=0)
    reconnect_max_s: float = Field(default=30.0, gt=0)
    ping_interval_s: float = Field(default=20.0, gt=0)
    #: How long a record waits for others to share a request with.
    linger_ms: float = Field(default=1.0, ge=0, le=1000)
    #: How long two connections overlap at most when one takes the other's place.
    overlap_s: float = Field(default=5.0, gt=0)
    #: A subscription that is not acknowledged after so long is asked for again on another connection.
    ack_timeout_s: float = Field(default=10.0, gt=0)
    #: A connection over which nothing of one of its datasets comes for so long is replaced (connected but silent).
    dataset_quiet_s: float = Field(default=120.0, gt=0)
    #: How often the list of markets is asked for, where no codes are set.
    markets_interval_s: float = Field(default=300.0, gt=0)
    #: So many failures in a row, with nothing coming of an exchange, and its connections wait, all but one.
    breaker_failures: int = Field(default=10, ge=1)
    breaker_open_s: float = Field(default=60.0, gt=0)
    drain_timeout_s: float = Field(default=20.0, gt=0)
    #: With the in-memory broker: pause the socket while the sink is more than this behind (3 MiB is its limit).
    max_lag_bytes: int = Field(default=3 * 1024 * 1024, ge=64 * 1024)
    #: Where metrics and health are shown (see TIDEMARK_MONITOR__HOST); 0: nowhere.
    metrics_port: int = Field(default=9101, ge=0, le=65535)


class SinkSettings(Role):
    """The Parquet side of streaming."""

    worker: str = "sink-1"
    group: str = "tidemark.sink"
    rotate_rows: int = Field(default=200_000, ge=1)
    #: Bytes in memory of one partition.
    rotate_bytes: int = Field(default=24 * 1024 * 1024, ge=1024)
    #: Bytes in memory of all partitions of a worker together; never less than twice ROTATE_BYTES.
    buffer_bytes: int = Field(default=48 * 1024 * 1024, ge=1024)
    #: Seconds of the clock between two objects of a partition. The slots end a minute before the loads, which run every
    #: ten minutes; what an hour holds is written when it ends, whatever this is.
    rotate_seconds: float = Field(default=600.0, gt=0)
    #: Whether the lake keeps each frame as it came. Without them it is about half as large, and a fault of a parser
    #: can't be mended after the topics' retention.
    keep_frames: bool = True
    session_timeout_ms: int = Field(default=10_000, ge=6_000)
    drain_timeout_s: float = Field(default=30.0, gt=0)
    #: Where metrics and health are shown (see TIDEMARK_MONITOR__HOST); 0: nowhere.
    metrics_port: int = Field(default=9102, ge=0, le=65535)


class MonitorSettings(Role):
    """How workers show what they do: ``/metrics``, ``/livez``, ``/readyz`` (each worker's own ``metrics_port``)."""

    #: Where they listen. What they show is no secret, and nobody is asked for a password: keep it inside.
    host: str = "127.0.0.1"
    #: A work loop that has not turned for so long is not alive. A call to the lake may take 60 s with its retries.
    stuck_after_s: float = Field(default=120.0, gt=0)


class LogSettings(Role):
    """Where logs go."""

    #: A file instead of standard error; ``{worker}`` in it is the worker's name. Processes must not share one.
    file: str = ""
    #: The file is set aside when it would grow beyond this, and so many of those are kept.
    max_bytes: int = Field(default=64 * 1024 * 1024, ge=4096)
    keep: int = Field(default=8, ge=1)
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class TransportSettings(Role):
    """REST requests to exchanges."""

    #: Directory in which all processes of this machine remember an exchange's ban of its address, shared by them; it
    #: must belong to their user. Empty: a directory of the user in the system's temporary folder.
    state_dir: str = ""


class SlackSettings(Role):
    """Slack. Without a token nothing is posted; the digest page shows what would have been."""

    base_url: str = "https://slack.com/api/"
    token: SecretStr = SecretStr("")
    channel: str = ""
    #: Where failures of DAGs and services go; empty: the same channel.
    alert_channel: str = ""
    #: Seconds to deliver one report, over all its messages, attempts, looks into the channel and pauses; upper bound.
    timeout_s: float = Field(default=120.0, gt=0)


class LlmSettings(Role):
    """The model that writes the report's narrative. Without a key the deterministic text is used."""

    base_url: str = "https://api.anthropic.com"
    api_key: SecretStr = SecretStr("")
    model: str = "claude-sonnet-5-5"
    #: Seconds for the text of one language, over all attempts and pauses; upper bound.
    timeout_s: float = Field(default=60.0, gt=0)
    max_tokens: int = Field(default=2_000, ge=100)


class ReportSettings(Role):
    """The daily report."""

    languages: tuple[Literal["en", "ko"], ...] = ("en", "ko")
    #: How long after KST midnight the report waits for complete coverage, minutes.
    wait_minutes: int = Field(default=60, ge=0)
    #: Folder for the digest page; empty: no page is written.
    page_dir: str = ""


class QualitySettings(Role):
    """The gate between raw and silver."""

    #: Folder for the pages of the latest check; empty: none are written.
    pages_dir: str = ""


class LocalSettings(Role):
    """The platform on one machine (``make up``)."""

    state_dir: Path = PROJECT_ROOT / ".tidemark"
    broker: Literal["auto", "kafka", "memory", "redpanda"] = "auto"
    source: Literal["simulator", "live"] = "simulator"
    airflow_port: int = 8080
    pages_port: int = 8002
    kafka_port: int = 9092
    postgres_port: int = 5433
    valkey_port: int = 6380
    simulator_port: int = 9443
    seed: int = 20_260_413
    #: Simulated trades: of all of Upbit's markets together, and of each exchange of swaps.
    trades_per_day: int = Field(default=150_000, ge=1_000)
    swap_trades_per_day: int = Field(default=15_000, ge=1_000)


class Settings(BaseSettings):
    """All roles. Read once by an entry point, then handed down role by role."""

    model_config = SettingsConfigDict(
        env_prefix="TIDEMARK_",
        env_nested_delimiter="__",
        env_file=".env",
        env_ignore_empty=True,
        nested_model_default_partial_update=True,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    upbit: ExchangeSettings = ExchangeSettings(ws_url="wss://api.upbit.com", rest_url="https://api.upbit.com")
    okx: ExchangeSettings = ExchangeSettings(
        ws_url="wss://ws.okx.com:8443",
        rest_url="https://www.okx.com",
        datasets=("trade", "ticker", "candle"),
        codes=("BTC-USDT-SWAP", "ETH-USDT-SWAP", "XRP-USDT-SWAP", "SOL-USDT-SWAP", "DOGE-USDT-SWAP"),
        candle_intervals=("1m", "5m", "15m", "1h", "4h", "1d"),
    )
    binance: ExchangeSettings = ExchangeSettings(
        ws_url="wss://fstream.binance.com",
        rest_url="https://fapi.binance.com",
        datasets=("trade", "depth", "candle"),
        codes=("BTCUSDT", "ETHUSDT", "XRPUSDT", "SOLUSDT", "DOGEUSDT"),
    )
    platform: PlatformSettings = PlatformSettings()
    kafka: KafkaSettings = KafkaSettings()
    lake: LakeSettings = LakeSettings()
    warehouse: WarehouseSettings = WarehouseSettings()
    valkey: ValkeySettings = ValkeySettings()
    producer: ProducerSettings = ProducerSettings()
    sink: SinkSettings = SinkSettings()
    monitor: MonitorSettings = MonitorSettings()
    transport: TransportSettings = TransportSettings()
    log: LogSettings = LogSettings()
    slack: SlackSettings = SlackSettings()
    llm: LlmSettings = LlmSettings()
    report: ReportSettings = ReportSettings()
    quality: QualitySettings = QualitySettings()
    local: LocalSettings = LocalSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then ``.env``, then files named as settings (systemd's LoadCredential)."""
        directory = os.environ.get("CREDENTIALS_DIRECTORY") or None
        files = NestedSecretsSettingsSource(file_secret_settings, secrets_dir=directory, secrets_dir_missing="ok")
        return init_settings, env_settings, dotenv_settings, files

    @property
    def exchanges(self) -> dict[str, ExchangeSettings]:
        """Settings of every exchange that is carried, by name."""
        return {name: getattr(self, name) for name in self.platform.exchanges}


def load() -> Settings:
    """Read the environment (and ``.env`` in the working directory).

    Raises:
        SettingsError: a setting is malformed; the message names each one and never shows its value.
    """
    roles = {role.upper() for role in Settings.model_fields}
    # TIDEMARK_DBT_* is what dbt/profiles.yml reads; whoever calls dbt sets it.
    unknown = [k for k in os.environ if k.startswith("TIDEMARK_") and k.split("_")[1] not in roles | {"DBT"}]
    if unknown:
        known = ", ".join(sorted(roles))
        raise SettingsError(f"no such setting: {', '.join(sorted(unknown))} (the roles are {known})")
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"  TIDEMARK_{'__'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise SettingsError("these settings are not usable:\n" + "\n".join(lines)) from None


_INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "JAVA_HOME", "MAVEN_OPTS", "M2_HOME",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "no_proxy", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "GOOGLE_APPLICATION_CREDENTIALS",
)  # fmt: skip


def service_manager() -> tuple[str, float | None]:
    """What systemd said: where it listens (empty: nowhere), and after how many seconds of silence it kills.

    See sd_notify(3) and sd_watchdog_enabled(3): a watchdog that was set for another process is none of ours.
    """
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    ours = os.environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
    watchdog_s = int(microseconds) / 1e6 if microseconds.isdecimal() and ours and int(microseconds) else None
    return os.environ.get("NOTIFY_SOCKET", ""), watchdog_s


def inherited_environment() -> dict[str, str]:
    """What a child process may take over from this one's environment: where things are, never how Tidemark behaves.

    No ``TIDEMARK_*`` variable is among them: a child is told its settings explicitly.
    """
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}
