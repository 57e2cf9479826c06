"""How long what was gathered may wait for more before it becomes an object of the lake.

Contains: the slots of the clock. Does not contain: rotation by rows and bytes (``writer``).

Readers see an object when a load has taken it, and loads run every ten minutes by the clock. So an object is written
by the clock too, a minute before a load: what waits longer is not later in the warehouse, and a partition has seven
objects an hour at most, not sixty. What an hour holds is checked ten minutes after its end, so it is written when it
ends: :data:`LATE_S` later, for records that are in transit.
"""

from __future__ import annotations

from typing import Final

_HOUR_S: Final = 3_600
#: How long before a full slot of the clock objects are written: time to upload all of them before a load begins.
LEAD_S: Final = 60.0
#: How long records of an hour may take to come, after its end, before the hour is written without them.
LATE_S: Final = 10.0


def wait(begun: float, hour: int, slot_s: float) -> float:
    """Seconds that an object may wait which was begun at ``begun`` (Unix seconds).

    ``hour`` is the latest receive hour of its records, the hour's start in Unix seconds. ``slot_s`` is the length of a
    slot; one that is no longer than twice ``LEAD_S`` is counted from the object's beginning, not by the clock.
    """
    until_slot = slot_s if slot_s <= 2 * LEAD_S else slot_s - (begun + LEAD_S) % slot_s
    sealed = begun // _HOUR_S * _HOUR_S + LATE_S
    if begun >= sealed:
        sealed += _HOUR_S
    # Rows of the hour that runs at that moment are sealed an hour later; the first row of it closes what is before it.
    return min(until_slot, sealed - begun) if hour + _HOUR_S < sealed else until_slot
