"""The simulated exchanges: a local server that speaks three exchanges' real protocols over one seeded hidden market.

Lives here: everything of it. It is the demo's source and the tests' witness, so it imports nothing of the
rest of ``tidemark``, and its oracle (``/_sim/…``) is computed from its own log of what it sent.

``Simulator(config)`` runs one in this process; ``python -m tidemark.local.simulator`` and ``tidemark
simulate`` run one on its own. ``market`` is what happens, known to no exchange; ``upbit``, ``okx`` and ``binance``
are how each of them tells it, by path on one port; ``swap`` is what the latter two have in common.
"""

from tidemark.local.simulator.config import ConfigError, SimulatorConfig
from tidemark.local.simulator.recording import RecordingError
from tidemark.local.simulator.server import Simulator
from tidemark.local.simulator.timeline import Cadence

__all__ = ["Cadence", "ConfigError", "RecordingError", "Simulator", "SimulatorConfig"]
