"""Where everything of the local stack is stored and listens.

Contains: the state directory's folders, the servers made from them, the epoch of each broker. Does not contain:
starting anything (``stack``), the settings of workers (``children``).
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

#: How a note names the two brokers; the index is whether it is the in-memory one.
_BROKERS = ("kafka", "memory")


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
            self.postgres.url(user=naming.ROLE_OPS_READER),
        )

    def epoch(self, memory: bool) -> int:
        """The epoch of one of the two brokers: how many times its data were re-created here.

        Each broker counts by itself: a start of one must never rename the chains of the other. A note of a release
        that had one count for both is read once more, for Kafka after a look at its newest chain in the lake.
        """
        note = self.note("epoch")
        former = int(note.get("epoch", 0))
        if memory:
            return int(note.get("memory", former))
        return int(note["kafka"]) if "kafka" in note else max(self._chain_epochs(), default=former)

    def raise_epoch(self, memory: bool) -> int:
        """Count one more making of this broker's data."""
        epoch = self.epoch(memory) + 1
        other = {_BROKERS[not memory]: self.epoch(not memory)}
        self.write_note("epoch", {**other, _BROKERS[memory]: epoch})
        return epoch

    def _chain_epochs(self) -> set[int]:
        """The epochs under which chains of this Kafka are in the lake."""
        if not (cluster := self.kafka.cluster()):
            return set()
        names = [folder.name for folder in (self.lake / "landing").glob(f"*/{cluster}-*")]
        return {int(number) for name in names if (number := name.rpartition("-")[2]).isdecimal()}

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
