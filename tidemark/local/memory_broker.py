"""The in-memory broker's own process: ``python -m tidemark.local.memory_broker --port-file FILE``.

Lives here: keeping librdkafka's mock cluster alive and telling its address. Doesn't: starting and stopping
this process (``memory``). The mock keeps the newest 5 MiB of each partition and nothing after a stop; the
producer must therefore follow the sink's pace (``TIDEMARK_KAFKA__MEMORY=true``).
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import signal
import sys
import threading
from importlib import util
from pathlib import Path

from tidemark import naming
from tidemark.exchanges import registry

_PRODUCER = 0
_ERROR_BYTES = 512


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port-file", type=Path, required=True, help="where to write the bootstrap servers")
    parser.add_argument("--exchange", action="append", default=[], help="exchange whose topics are made")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stopped = threading.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stopped.set())
    bootstrap = start_cluster(options.exchange)
    temporary = options.port_file.with_suffix(".new")
    temporary.write_text(bootstrap)
    temporary.replace(options.port_file)
    logging.info("in-memory broker at %s", bootstrap)
    stopped.wait()
    return 0


def start_cluster(exchanges: list[str]) -> str:
    """Start a one-broker cluster in this process, with the topics of ``exchanges``; its bootstrap servers."""
    kafka = _library()
    error = ctypes.create_string_buffer(_ERROR_BYTES)
    handle = kafka.rd_kafka_new(_PRODUCER, None, error, _ERROR_BYTES)
    if not handle:
        raise RuntimeError(f"librdkafka can't start: {error.value.decode()}")
    cluster = kafka.rd_kafka_mock_cluster_new(handle, 1)
    if not cluster:
        raise RuntimeError("librdkafka can't start its in-memory cluster")
    kafka.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
    # The mock's admin API can't create topics, so what `tidemark migrate` does elsewhere happens here.
    topics = [topic for name in exchanges for topic in naming.topics(name, registry.get(name).datasets)]
    for topic in [*topics, *naming.control_topics()]:
        failed = kafka.rd_kafka_mock_topic_create(cluster, topic.name.encode(), topic.partitions, 1)
        if failed:
            raise RuntimeError(f"librdkafka can't make topic {topic.name} in memory: error {failed}")
    return bytes(kafka.rd_kafka_mock_cluster_bootstraps(cluster)).decode()


def _library() -> ctypes.CDLL:
    import confluent_kafka  # noqa: F401  (loads the libraries that librdkafka itself needs)

    spec = util.find_spec("confluent_kafka")
    package = Path(spec.origin).parent if spec and spec.origin else Path()
    folders = (package.with_name("confluent_kafka.libs"), package / ".dylibs")
    found = [path for folder in folders for path in folder.glob("librdkafka*") if "++" not in path.name]
    if not found:
        raise RuntimeError(f"no librdkafka beside {package}: the in-memory broker needs confluent-kafka's wheel")
    kafka = ctypes.CDLL(str(found[0]))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("rd_kafka_new", pointer, [number, pointer, text, ctypes.c_size_t]),
        ("rd_kafka_mock_cluster_new", pointer, [pointer, number]),
        ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
        ("rd_kafka_mock_topic_create", number, [pointer, text, number, number]),
    ):
        getattr(kafka, name).restype, getattr(kafka, name).argtypes = result, arguments
    return kafka


if __name__ == "__main__":
    sys.exit(main())
