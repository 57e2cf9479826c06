"""The page of fault cases says what the tests say."""

from __future__ import annotations

from tests.faults import table


def test_every_module_of_cases_is_in_the_page() -> None:
    assert table.modules() == set(table.TITLES)


def test_the_page_is_what_the_tests_say() -> None:
    assert table.PAGE.read_text("utf-8") == table.page(), "write it again: python -m tests.faults.table"


def test_there_are_enough_of_them() -> None:
    lines = [line for line in table.page().splitlines() if line.startswith("| ")]
    assert len(lines) > 60
