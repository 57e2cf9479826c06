"""Frames changed at random, read by the column and by the record parser: the same rows, to the last digit.

A change keeps most frames sound JSON, as an exchange would send it one day: fields in another order, new fields, values
of other types, other spellings of numbers and spaces, arrays with more or fewer items, containers in other places.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.exchanges.columnar import check
from tests.exchanges.test_columnar import DECLARED, SAMPLES, VALUES, compiled
from tidemark.exchanges import registry
from tidemark.exchanges.columnar.reader import Reader

__all__ = ["compiled"]  # the fixture
#: Frames that are read together.
_BATCH: Final = 250
_SEED: Final = 20261130


class Token(str):
    """A number as it is spelled."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object's members in their order; a name may come twice."""


Node = Any


def parsed(frame: bytes) -> Node:
    """A frame as a tree whose numbers keep their spelling."""
    return json.loads(frame, parse_int=Token, parse_float=Token, object_pairs_hook=Pairs)


def spelled(node: Node, space: Callable[[], str]) -> str:
    """A tree as JSON text."""
    if isinstance(node, Token):
        return str(node)
    if isinstance(node, Pairs):
        members = (f"{json.dumps(n, ensure_ascii=False)}{space()}:{space()}{spelled(v, space)}" for n, v in node)
        return "{" + space() + f"{space()},{space()}".join(members) + space() + "}"
    if isinstance(node, list):
        return "[" + space() + f"{space()},{space()}".join(spelled(one, space) for one in node) + space() + "]"
    return json.dumps(node, ensure_ascii=False)


def containers(node: Node) -> list[Node]:
    """Every object and array of a tree."""
    if not isinstance(node, list):
        return []
    inner = [value for _, value in node] if isinstance(node, Pairs) else list(node)
    return [node, *(found for one in inner for found in containers(one))]


def _value(chance: random.Random) -> Node:
    kinds: list[Callable[[], Node]] = [
        lambda: Token(
            chance.choice(["0", "-1", "7", "1.50", "0E-8", "1.16539E8", "1e2", "12345678901234567890", "1e400"])
        ),
        lambda: Token(str(chance.randint(-(10**6), 10**15))),
        lambda: chance.choice(["", "x", "1.5", "007", "BID", "buy", "null", "한글", 'a"b', "a\\b", "a\nb", "\0", "/"]),
        lambda: chance.choice([None, True, False]),
        lambda: [_value(chance) for _ in range(chance.randint(0, 3))],
        lambda: Pairs((chance.choice("abc"), _value(chance)) for _ in range(chance.randint(0, 3))),
    ]
    return chance.choice(kinds)()


def _replace(chance: random.Random, node: Node) -> None:
    if node:
        at = chance.randrange(len(node))
        node[at] = (node[at][0], _value(chance)) if isinstance(node, Pairs) else _value(chance)


def _respell(chance: random.Random, node: Node) -> None:
    """A number in quotation marks, or without them, or by an exponent."""
    for at, one in enumerate(node):
        name, value = one if isinstance(node, Pairs) else (None, one)
        if isinstance(value, Token):
            value = chance.choice([str(value), Token(f"{value}0" if "." in value else value), Token(f"{value}E0")])
        elif isinstance(value, str) and value[:1].isdigit():
            value = Token(value) if not value.startswith("0") or value.startswith("0.") else value
        node[at] = (name, value) if isinstance(node, Pairs) else value


def _add(chance: random.Random, node: Node) -> None:
    at = chance.randint(0, len(node))
    name = chance.choice(["new", "nq2", "stream", "data", "type", "ty", "e", "k", "instId", "count", "extra", "ü"])
    node.insert(at, (name, _value(chance)) if isinstance(node, Pairs) else _value(chance))


def _drop(chance: random.Random, node: Node) -> None:
    if node:
        del node[chance.randrange(len(node))]


def _again(chance: random.Random, node: Node) -> None:
    if node:
        node.insert(chance.randint(0, len(node)), chance.choice(node))


def _shuffle(chance: random.Random, node: Node) -> None:
    chance.shuffle(node)


def _wrap(chance: random.Random, node: Node) -> None:
    if node:
        at = chance.randrange(len(node))
        node[at] = (node[at][0], [node[at][1]]) if isinstance(node, Pairs) else [node[at]]


_CHANGES: Final = (_replace, _respell, _add, _add, _add, _drop, _again, _shuffle, _shuffle, _wrap)


def mutated(chance: random.Random, frame: bytes) -> bytes:
    """A frame with up to three changes; now and then one that is no JSON any more."""
    tree = parsed(frame)
    for _ in range(chance.choice([0, 1, 1, 1, 2, 2, 3])):
        chance.choice(_CHANGES)(chance, chance.choice(containers(tree)))
    spaces = chance.choice([("",), ("",), ("",), ("", " ", "\t", "\n")])
    text = spelled(tree, lambda: chance.choice(spaces)).encode()
    if chance.random() < 0.05:
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice([b"", bytes([chance.randrange(256)]), chance.choice(VALUES)]) + text[at + 1 :]
    return text


@pytest.mark.parametrize(("exchange", "dataset"), DECLARED)
@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.fault)])
def test_changed_frames_are_read_as_the_record_parser_reads_them(exchange: str, dataset: str, count: int) -> None:
    chance = random.Random(_SEED)
    sound = SAMPLES[exchange, dataset]
    reader = Reader(registry.shapes(exchange, dataset))
    read = 0
    for _ in range(0, count, _BATCH):
        frames = [mutated(chance, chance.choice(sound)) for _ in range(_BATCH)]
        read += _BATCH - len(check(exchange, dataset, frames, reader))
    assert read > count // 5  # else nothing was compared
