"""Where a test works: settings, a migrated warehouse, a lake, and connections that are closed afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidemark import naming
from tidemark.lake.local import LocalStore
from tidemark.settings import KafkaSettings, LakeSettings, PlatformSettings, Settings, WarehouseSettings
from tidemark.warehouse.connection import Connection, connect
from tidemark.warehouse.migrate import migrate


@dataclass
class Place:
    settings: Settings
    admin_url: str
    store: LocalStore
    opened: list[Connection] = field(default_factory=list)

    def connect(self, role: str = "") -> Connection:
        """A connection as ``role`` (default: the administrator)."""
        url = self.admin_url.replace("//postgres@", f"//{role}@") if role else self.admin_url
        connection = connect(url, "test")
        self.opened.append(connection)
        return connection

    def loader(self) -> Connection:
        return self.connect(naming.ROLE_LOADER)

    def value(self, query: str, *arguments: Any) -> Any:
        """The first value that the administrator gets for a query."""
        if not self.opened:
            self.connect()
        row = self.opened[0].execute(query.encode(), arguments).fetchone()
        return row[0] if row else None


def make_place(admin_url: str, folder: Path, bootstrap: str = "127.0.0.1:1", **kafka: Any) -> Place:
    lake = folder / "lake"
    settings = Settings(
        warehouse=WarehouseSettings.model_validate(
            {"url": admin_url.replace("//postgres@", f"//{naming.ROLE_LOADER}@"), "admin_url": admin_url}
        ),
        lake=LakeSettings(url=f"file://{lake}"),
        kafka=KafkaSettings(bootstrap_servers=bootstrap, **kafka),
        platform=PlatformSettings(exchanges=("upbit",)),
    )
    migrate(settings.warehouse)
    place = Place(settings, admin_url, LocalStore(lake))
    place.connect()
    return place


def close(place: Place) -> None:
    for connection in place.opened:
        connection.close()
