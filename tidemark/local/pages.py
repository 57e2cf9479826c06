"""The pages of the local stack: dbt docs under ``/dbt/``, the daily report under ``/digest/``.

Contains: starting and stopping the small web server, and the page that links everything. Does not contain: the server's
own process (``pages_server``), the figures (``home`` asks for them when somebody looks), the digest page
(``alerts.report`` writes it), dbt docs (dbt writes them).
"""

from __future__ import annotations

import html
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tidemark.local import process
from tidemark.local.process import Program
from tidemark.settings import PROJECT_ROOT

_TEMPLATE = PROJECT_ROOT / "infra" / "local" / "index.html"
_FIGURES = "@FIGURES@"


@dataclass(frozen=True)
class PagesServer:
    """One server: the folder ``root`` on ``port``, and on its index page figures of the warehouse at ``warehouse``."""

    home: Path
    port: int
    log: Path
    root: Path
    warehouse: str = ""

    @property
    def url(self) -> str:
        """Address of the index page."""
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def program(self) -> Program:
        """How the server is started and stopped."""
        return Program(
            name="the pages server",
            command=[sys.executable, "-m", "tidemark.local.pages_server", str(self.root), str(self.port)],
            home=self.home,
            log=self.log,
            pid_file=self.home / "pages.pid",
            env={"PYTHONPATH": str(PROJECT_ROOT), "TIDEMARK_WAREHOUSE__URL": self.warehouse},
        )

    def running(self) -> bool:
        """Whether this very server runs."""
        return process.running(self.program.pid_file) is not None

    def start(self, timeout_s: float = 20.0) -> None:
        """Start the server and wait until it listens.

        Raises:
            LocalError: the port is taken, or the server ended or did not answer in time.
        """
        if not self.running():
            process.require_port("the pages server", self.port)
            self.root.mkdir(parents=True, exist_ok=True)
            process.start(self.program)
        process.wait_until(
            "the pages server",
            lambda: process.port_open(self.port),
            timeout_s=timeout_s,
            pid_file=self.program.pid_file,
            log=self.log,
        )

    def stop(self) -> bool:
        """Stop the server; True if it ran."""
        return process.stop(self.program)


@dataclass(frozen=True)
class Link:
    """One address on the index page, with its names in English and Korean."""

    url: str
    english: str
    korean: str
    about_english: str
    about_korean: str


@dataclass(frozen=True)
class Figure:
    """One number or word on the index page; ``tone`` is ``good``, ``bad`` or empty."""

    english: str
    korean: str
    value: str
    tone: str = ""
    value_korean: str = ""


def write_index(root: Path, links: Sequence[Link], note: str) -> None:
    """Write the index page without its figures: what there is, and ``note`` as a last line."""
    root.mkdir(parents=True, exist_ok=True)
    page = _TEMPLATE.read_text(encoding="utf-8").replace("@LINKS@", "\n".join(map(_link, links)))
    page = page.replace("@NOTE@", html.escape(note))
    temporary = root / "index.html.new"
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(root / "index.html")


def with_figures(page: str, figures: Sequence[Figure]) -> str:
    """The index page as it is sent."""
    return page.replace(_FIGURES, "\n".join(map(_figure, figures)))


def _both(english: str, korean: str) -> str:
    return f'<span lang="en">{html.escape(english)}</span><span lang="ko">{html.escape(korean)}</span>'


def _link(link: Link) -> str:
    title = _both(link.english, link.korean)
    about = _both(link.about_english, link.about_korean)
    return f'<a class="card" href="{html.escape(link.url)}"><strong>{title}</strong><small>{about}</small></a>'


def _figure(figure: Figure) -> str:
    name = _both(figure.english, figure.korean)
    value = _both(figure.value, figure.value_korean or figure.value)
    return f'<div class="figure {figure.tone}"><dt>{name}</dt><dd>{value}</dd></div>'
