"""A small Google Cloud Storage on loopback, with preconditions that hold and faults that can be planted."""

from tests.gcs_double.server import Fault, GcsDouble

__all__ = ["Fault", "GcsDouble"]
