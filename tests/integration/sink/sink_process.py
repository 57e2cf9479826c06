"""One sink as a process of its own, for tests that kill it: ``python -m tests.integration.sink.sink_process JSON``."""

from __future__ import annotations

import json
import os
import signal
import sys

from streaming.consumer.worker import Sink
from tidemark import logs
from tidemark.settings import KafkaSettings, LakeSettings, Settings, SinkSettings


def main() -> int:
    order = json.loads(sys.argv[1])
    uploads = 0

    def after_upload(path: str) -> None:
        nonlocal uploads
        uploads += 1
        if uploads == order["kill_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = Settings(
        kafka=KafkaSettings(**order["kafka"]),
        lake=LakeSettings(**order["lake"]),
        sink=SinkSettings(**order["sink"]),
    )
    logs.setup(settings.sink.worker)
    places = [(topic, partition) for topic, partition in order["places"]]
    sink = Sink(settings, topics=order["topics"], places=places, after_upload=after_upload)
    signal.signal(signal.SIGTERM, lambda *_: sink.stop())
    sink.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
