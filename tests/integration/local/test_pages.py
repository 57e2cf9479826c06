"""The pages server: what it serves, and what it doesn't."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tidemark.local import process
from tidemark.local.pages import Link, PagesServer, write_index


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[PagesServer]:
    (tmp_path / "secret.txt").write_text("not for the web")
    server = PagesServer(tmp_path / "home", process.free_port(), tmp_path / "log", tmp_path / "root")
    server.start()
    yield server
    server.stop()


def get(pages: PagesServer, path: str) -> requests.Response:
    return requests.get(f"{pages.url}{path}", timeout=5)


def test_pages_are_served_and_never_kept(pages: PagesServer) -> None:
    (pages.root / "digest").mkdir()
    (pages.root / "digest" / "index.html").write_text("<p>오늘</p>")
    answer = get(pages, "/digest/")
    assert (answer.status_code, answer.content.decode()) == (200, "<p>오늘</p>")
    assert answer.headers["Cache-Control"] == "no-store"
    assert get(pages, "/digest").url == f"{pages.url}/digest/"


def test_nothing_else_is_served(pages: PagesServer) -> None:
    (pages.root / "empty").mkdir()
    for path in ("/", "/empty/", "/missing", "/../secret.txt", "/%2e%2e/secret.txt"):
        assert get(pages, path).status_code == 404, path
    assert "make up" in get(pages, "/dbt/").text


def test_the_index_page_links_and_escapes(pages: PagesServer) -> None:
    link = Link("digest/", "Report & more", "리포트", "About <it>", "설명")
    write_index(pages.root, [link], "psql -c 'select 1 < 2'")
    page = get(pages, "/").content.decode()
    assert 'href="digest/"' in page
    assert "Report &amp; more" in page
    assert "리포트" in page
    assert "does not answer" in page, "no warehouse, no figure"
    assert "1 &lt; 2" in page
    assert "@" not in page.replace("@media", "")


def test_a_stopped_server_is_gone(pages: PagesServer) -> None:
    assert pages.stop() is True
    assert process.port_free(pages.port)
    pages.start()
    assert get(pages, "/").status_code == 404
