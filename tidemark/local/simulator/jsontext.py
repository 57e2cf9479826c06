"""JSON that may be anything.

Contains: reading bytes of unknown origin without an error.
Does not contain: what the values mean (each exchange's ``recorded``).
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any


def parsed(text: bytes) -> Any:
    """The value of a JSON text in UTF-8, numbers exact; None when it is none, or none that can be held."""
    try:
        return json.loads(text.decode(), parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError, MemoryError):
        return None
