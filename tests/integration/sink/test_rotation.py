"""Objects wait for the clock; whoever cannot wait asks the sink for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.integration.sink.plant import Plant, trades, until
from tidemark.settings import PROJECT_ROOT


def test_a_sink_that_is_asked_writes_what_it_has_gathered(memory_bootstrap: str, tmp_path: Path) -> None:
    """Asked from the first moment on: a sink that is still starting does not end of it."""
    plant = Plant(memory_bootstrap, tmp_path)
    topic = "raw.upbit.ticker.v1"
    plant.send(topic, trades(0, 40))  # whatever they hold: dead letters are accounted for too
    env = {
        "PATH": os.environ["PATH"],
        "TIDEMARK_KAFKA__BOOTSTRAP_SERVERS": memory_bootstrap,
        "TIDEMARK_KAFKA__CLUSTER": plant.cluster,
        "TIDEMARK_LAKE__URL": plant.lake.url,
        "TIDEMARK_SINK__ROTATE_SECONDS": "86400",
        "TIDEMARK_SINK__METRICS_PORT": "0",
    }
    command = [sys.executable, "-m", "streaming.consumer", "--topic", topic]
    with subprocess.Popen(command, cwd=PROJECT_ROOT, env=env) as sink:

        def landed() -> bool:
            sink.send_signal(signal.SIGURG)
            return plant.end(topic) == 39

        try:
            until(landed, 90)
        finally:
            sink.terminate()
        assert sink.wait(30) == 0
