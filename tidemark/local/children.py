"""What the local stack's processes are told: Tidemark's settings as an environment of their own.

Lives here: the settings of this machine's stack, and their spelling as variables. Doesn't: reading the
environment (``tidemark.settings``), starting processes (``workers``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from tidemark import naming
from tidemark.local.layout import Layout
from tidemark.local.memory import SAFE_LAG_BYTES
from tidemark.settings import PROJECT_ROOT, Settings

#: In-memory broker: what the sink holds back of a partition must stay far below what the broker keeps of it (5 MiB).
#: That is a matter of bytes: producers pause by bytes. Time rotates as with Kafka: a sink that is asked to stop writes
#: what it holds, and one that is killed reads it again.
_MEMORY_ROTATE_BYTES = 512 * 1024


def local_settings(layout: Layout, memory: bool) -> Settings:
    """The user's settings with this machine's addresses in place of all others."""
    settings = layout.settings
    broker: dict[str, Any] = {
        "bootstrap_servers": layout.memory.bootstrap if memory else layout.kafka.bootstrap,
        "epoch": layout.epoch(memory),
        "memory": memory,
    }
    if memory:  # its own id is an address in memory: the same one could come again
        broker["cluster"] = "memory"
    warehouse = {
        "url": SecretStr(layout.postgres.url(user=naming.ROLE_LOADER)),
        "admin_url": SecretStr(layout.postgres.url()),
        "dbt_user": naming.ROLE_DBT,
    }
    changes: dict[str, Any] = {
        "kafka": settings.kafka.model_copy(update=broker),
        "lake": settings.lake.model_copy(update={"url": f"file://{layout.lake}", "gcs_endpoint": ""}),
        "warehouse": settings.warehouse.model_copy(update=warehouse),
        "valkey": settings.valkey.model_copy(update={"url": layout.valkey.url}),
        "report": settings.report.model_copy(update={"page_dir": str(layout.pages_root / "digest")}),
        "quality": settings.quality.model_copy(update={"pages_dir": str(layout.pages_root / "quality")}),
        **_streaming(settings, memory),
    }
    if settings.local.source == "simulator":
        origin = f"127.0.0.1:{settings.local.simulator_port}"
        urls = {"ws_url": f"ws://{origin}", "rest_url": f"http://{origin}"}
        changes |= {name: exchange.model_copy(update=urls) for name, exchange in settings.exchanges.items()}
    return settings.model_copy(update=changes)


def producer_settings(settings: Settings, exchange: str) -> Settings:
    """What the producer of one exchange is told: a name and a port for its metrics that no other worker has."""
    place = list(settings.exchanges).index(exchange)
    first, others = settings.producer.metrics_port, settings.sink.metrics_port  # 9101, and from 9103 on
    port = first if place == 0 or not others else others + place
    own = {"worker": f"{settings.producer.worker}-{exchange}", "metrics_port": port if first else 0}
    return settings.model_copy(update={"producer": settings.producer.model_copy(update=own)})


def environment(settings: Settings) -> dict[str, str]:
    """Every setting as ``TIDEMARK_<ROLE>__<FIELD>``, so that a child depends on no shell and no ``.env``."""
    variables = {"PYTHONPATH": str(PROJECT_ROOT)}
    for role in type(settings).model_fields:
        model = getattr(settings, role)
        if isinstance(model, BaseModel):
            for name in type(model).model_fields:
                variables[f"TIDEMARK_{role}__{name}".upper()] = _spelled(getattr(model, name))
    return variables


def _streaming(settings: Settings, memory: bool) -> dict[str, Any]:
    if not memory:
        return {}
    rotate = {"rotate_bytes": min(settings.sink.rotate_bytes, _MEMORY_ROTATE_BYTES)}
    lag = {"max_lag_bytes": min(settings.producer.max_lag_bytes, SAFE_LAG_BYTES)}
    return {
        "sink": settings.sink.model_copy(update=rotate),
        "producer": settings.producer.model_copy(update=lag),
    }


def _spelled(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, str | Path):
        return str(value)
    return json.dumps(value)
