"""How often a stream usually brings a frame.

Contains: ``Usual``, the rate by the frames of the last hours. Does not contain: judging a silence (``watch``).
"""

from __future__ import annotations

import math
from typing import Final

#: Seconds after which what was heard counts half.
_HALF_LIFE_S: Final = 3600.0
#: Below so many frames the rate is unknown.
_LEAST_FRAMES: Final = 3.0


class Usual:
    """The usual rate of one stream. Times are seconds between frames, silences included once they have ended."""

    __slots__ = ("_frames", "_seconds")

    def __init__(self) -> None:
        self._frames = 0.0
        self._seconds = 0.0

    def heard(self, frames: int, seconds: float) -> None:
        """Count ``frames`` that came in the ``seconds`` since the frame before them."""
        kept = math.pow(0.5, seconds / _HALF_LIFE_S)
        self._frames = self._frames * kept + frames
        self._seconds = self._seconds * kept + seconds

    def expected(self, seconds: float) -> float | None:
        """Frames that usually come in ``seconds``; None: the rate is unknown."""
        if self._frames < _LEAST_FRAMES or not self._seconds:
            return None
        return self._frames / self._seconds * seconds
