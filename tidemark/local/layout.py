"""Where everything of the local stack lies and listens.

Lives here: the state directory's folders, the servers made from them, the epoch counter. Doesn't: starting
anything (``stack``), what workers are told (``children``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tidemark import naming
from tidemark.local.kafka import KafkaServer
from tidemark.local.memory import MemoryBroker
from tidemark.local.pages import PagesServer
from tidemark.local.postgres import PostgresServer
from tidemark.local.valkey import ValkeyServer
from tidemark.settings import Settings


@dataclass(frozen=True)
class Layout:
    """The local stack of one state directory."""

    settings: Settings

    @cached_property
    def state(self) -> Path:
        """The state directory, absolute."""
        return self.settings.local.state_dir.expanduser().resolve()

    @property
    def logs(self) -> Path:
        """Every process's log, one file each."""
        return self.state / "logs"

    @property
    def cache(self) -> Path:
        """What can be fetched again (the broker's jars)."""
        return self.state / "cache"

    @property
    def lake(self) -> Path:
        """The lake, as a local directory."""
        return self.state / "lake"

    @property
    def pages_root(self) -> Path:
        """What the pages server shows: ``index.html``, ``dbt/``, ``digest/``, ``quality/``."""
        return self.state / "pages"

    @cached_property
    def postgres(self) -> PostgresServer:
        """The PostgreSQL server."""
        return PostgresServer(self.state / "postgres", self.settings.local.postgres_port, self.logs / "postgres.log")

    @cached_property
    def kafka(self) -> KafkaServer:
        """The Kafka broker (not necessarily the one in use)."""
        return KafkaServer(self.state / "kafka", self.settings.local.kafka_port, self.logs / "kafka.log", self.cache)

    @cached_property
    def memory(self) -> MemoryBroker:
        """The in-memory broker (not necessarily the one in use)."""
        return MemoryBroker(self.state / "memory", self.logs / "memory.log", tuple(self.settings.exchanges))

    @cached_property
    def valkey(self) -> ValkeyServer:
        """The Valkey server."""
        return ValkeyServer(self.state / "valkey", self.settings.local.valkey_port, self.logs / "valkey.log")

    @cached_property
    def pages(self) -> PagesServer:
        """The server of dbt docs and the digest page."""
        return PagesServer(
            self.state / "pages-server",
            self.settings.local.pages_port,
            self.logs / "pages.log",
            self.pages_root,
            self.postgres.url(user=naming.ROLE_LOADER),
        )

    def epoch(self) -> int:
        """The broker's epoch: how many times its data were made anew here."""
        return int(self.note("epoch").get("epoch", 0))

    def raise_epoch(self) -> int:
        """Count one more making of the broker's data."""
        epoch = self.epoch() + 1
        self.write_note("epoch", {"epoch": epoch})
        return epoch

    def note(self, name: str) -> dict[str, Any]:
        """A small fact remembered between runs; empty when there is none."""
        try:
            return dict(json.loads((self.state / f"{name}.json").read_text()))
        except (OSError, ValueError):
            return {}

    def write_note(self, name: str, value: dict[str, Any]) -> None:
        """Remember a small fact between runs."""
        self.state.mkdir(parents=True, exist_ok=True)
        temporary = self.state / f"{name}.json.new"
        temporary.write_text(json.dumps(value))
        temporary.replace(self.state / f"{name}.json")
