"""Fields that no column holds and nobody knows: each is reported once, with an example and since when.

Contains: finding them in the ``extra`` column of a batch, and what was found since the start. Does not contain: reading
frames, the metric (``metrics``), fields that are known and kept in ``extra`` on purpose (``<exchange>/kept``).

Most batches hold the same few combinations of names in every row. So some rows of a large batch are looked at, others
in the next one, and are told apart by a hash of their names. JSON is parsed once for each combination, never once for
each row.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import structlog

_log = structlog.get_logger()

#: Names that are reported and shown of one topic; all further ones are together ``OTHER``.
_NAMES: Final = 100
OTHER: Final = "other"
#: Rows of one batch that are looked at, roughly.
_LOOKED_AT: Final = 256
#: Combinations of names that one batch may have parsed, and that are remembered of a topic.
_PARSED: Final = 16
_REMEMBERED: Final = 1_000
_EXAMPLE: Final = 200
_NAME: Final = 80
#: The end of a name that counts in the hash, in bytes.
_SUFFIX: Final = 12
_QUOTE, _COLON = ord('"'), ord(":")
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

Hashes = npt.NDArray[np.uint64]


@dataclass
class _Topic:
    """What was found in one topic; ``combinations`` are the hashes of names that were seen, in ``looks`` batches."""

    reported: set[str] = field(default_factory=set)
    combinations: set[int] = field(default_factory=set)
    looks: int = 0


class UnknownFields:
    """What a process has found, by topic. One thread looks, others may read."""

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}

    def look(self, place: tuple[str, str, str], kept: Set[str], rows: pa.RecordBatch) -> None:
        """Report the fields in ``extra`` that are not ``kept`` and were not reported yet.

        ``place`` is exchange, dataset and topic. ``rows`` are of one topic, with texts in dictionaries.
        """
        extra = rows.column("extra")
        if extra.null_count == len(extra):
            return
        topic = self._topics.setdefault(place[2], _Topic())
        some = _some(len(extra.dictionary), topic.looks)
        topic.looks += 1
        for place_in_some, names in _combinations(extra.dictionary.take(pa.array(some)), topic.combinations):
            number = int(some[place_in_some])
            for name, example in names.items():
                shown = name[:_NAME]
                if name in kept or shown in topic.reported or OTHER in topic.reported:
                    continue
                if len(topic.reported) == _NAMES:
                    shown = OTHER
                topic.reported.add(shown)
                _report(place, shown, bytes(example), rows, number)

    def found(self) -> Iterator[tuple[str, str]]:
        """Topic and field of everything reported."""
        for name, topic in list(self._topics.items()):
            yield from ((name, found) for found in sorted(topic.reported.copy()))


def _some(count: int, looks: int) -> npt.NDArray[np.int64]:
    """Which of ``count`` texts are looked at: all of a few, of many evenly spaced ones, others each time."""
    step = max(count // _LOOKED_AT, 1)
    return np.arange(looks % step, count, step)


def _report(place: tuple[str, str, str], name: str, example: bytes, rows: pa.RecordBatch, number: int) -> None:
    """Log a field with the first row whose ``extra`` is number ``number`` of its dictionary."""
    places = np.flatnonzero(rows.column("extra").indices.fill_null(-1).to_numpy() == number)
    row = int(places[0]) if len(places) else 0
    exchange, dataset, topic = place
    _log.warning(
        "unknown_field",
        exchange=exchange,
        dataset=dataset,
        topic=topic,
        field=name,
        example=example[:_EXAMPLE].decode("utf-8", "replace"),
        offset=rows.column("kafka_offset")[row].as_py(),
        since=rows.column("received_at")[row].as_py().isoformat(),
    )


def _combinations(texts: pa.StringArray, known: set[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """For each combination of names that isn't ``known``: the number of a text that has it, and its fields."""
    hashes = _hashes(texts)
    if not len(hashes) or ((hashes == hashes[0]).all() and int(hashes[0]) in known):
        return
    different, first = np.unique(hashes, return_index=True)
    new = sorted((int(n), int(h)) for n, h in zip(first, different, strict=True) if int(h) not in known)
    if len(known) + len(new) > _REMEMBERED:
        known.clear()
    for number, combination in new[:_PARSED]:
        known.add(combination)
        try:
            yield number, _FIELDS.decode(texts[number].as_py())
        except msgspec.DecodeError:  # the record parser wrote it, so that it is JSON; a look must not stop the sink
            _log.exception("extra is no object", text=texts[number].as_py()[:_EXAMPLE])


def _hashes(texts: pa.StringArray) -> Hashes:
    """A number for each text of JSON that depends on the names in it only, not on their values or order."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    ends = np.flatnonzero((data[:-1] == _QUOTE) & (data[1:] == _COLON))  # the quote behind each name
    names = np.zeros(len(ends), np.uint64)
    inside = np.ones(len(ends), np.bool_)
    for distance in range(1, _SUFFIX + 1):
        found = data[ends - distance]
        inside &= found != _QUOTE
        if not inside.any():
            break
        names = names * np.uint64(257) + np.where(inside, found, 0).astype(np.uint64)
    names ^= names >> np.uint64(29)
    names *= np.uint64(0xBF58476D1CE4E5B9)
    names ^= names >> np.uint64(32)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(names, dtype=np.uint64)])
    bounds = np.searchsorted(ends, offsets - offsets[0])
    return np.asarray(sums[bounds[1:]] - sums[bounds[:-1]])
