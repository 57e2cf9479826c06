"""Which connections there should be: the same for as long as possible, whatever is listed or delisted.

Lives here: dividing codes into groups that stay, and what each connection is asked for. Doesn't: opening them
(``feed``), what an exchange packs into one connection (``tidemark.exchanges``).

Codes are kept in groups of at most ``codes_per_connection``, and the exchange plans each group by itself: a code that
is new goes into the first group with room, one that is gone leaves its group. So only connections that carry a change
are replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tidemark.exchanges.base import Connection, Exchange
from tidemark.settings import ExchangeSettings

Key = tuple[int, int]


@dataclass(frozen=True)
class Place:
    """One connection of a plan, and the settings it is subscribed by."""

    settings: ExchangeSettings
    connection: Connection

    def asks_the_same(self, other: Place, exchange: Exchange) -> bool:
        """Whether a connection opened for one would do for the other."""
        if self.connection != other.connection or self.settings.ws_url != other.settings.ws_url:
            return False
        mine, theirs = (exchange.subscribe(place.settings, place.connection, "") for place in (self, other))
        return mine == theirs


class Planner:
    """Remembers which code is in which group."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._groups: list[list[str]] = []

    def plan(self, settings: ExchangeSettings, codes: Sequence[str]) -> dict[Key, Place]:
        """The connections for these codes, by a key that stays with the connection.

        Raises:
            ValueError: the exchange cannot be asked for that; the groups stay as they were.
        """
        groups = self._grouped(list(dict.fromkeys(codes)), settings.codes_per_connection)
        places: dict[Key, Place] = {}
        for number, group in enumerate(groups):
            if group or not codes:  # without any code it is the exchange that says what is wrong
                connections = self._exchange.connections(settings, group, settings.codes_per_connection)
                places |= {(number, i): Place(settings, one) for i, one in enumerate(connections)}
        self._groups = groups
        return places

    def _grouped(self, codes: Sequence[str], most: int) -> list[list[str]]:
        wanted = set(codes)
        groups = [[code for code in group if code in wanted][:most] for group in self._groups]
        known = {code for group in groups for code in group}
        for code in codes:
            if code not in known:
                room = next((group for group in groups if len(group) < most), None)
                if room is None:
                    groups.append(room := [])
                room.append(code)
        return groups or [[]]
