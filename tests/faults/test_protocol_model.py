"""The model of the lake protocol, thousands of steps of it (``make test`` runs a few)."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.unit.lake.test_chain_model import LakeProtocol


class TestLongRun(LakeProtocol.TestCase):
    """Racing writers, crashes and lost answers at any step, zombies, lost, reset and expired commits, trimmed logs,
    deleted objects, topics made anew, any rotation → one chain, always."""

    settings = settings(
        max_examples=400,
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
