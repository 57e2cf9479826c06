"""The pages of the local stack: dbt docs under ``/dbt/``, the daily report under ``/digest/``.

Lives here: starting and stopping the small web server, and the page that links everything. Doesn't: the server's
own process (``pages_server``), the digest page (``alerts.report`` writes it), dbt docs (dbt writes them).
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


@dataclass(frozen=True)
class PagesServer:
    """One server of static files: the folder ``root`` on ``port``."""

    home: Path
    port: int
    log: Path
    root: Path

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
            env={"PYTHONPATH": str(PROJECT_ROOT)},
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
    """One number on the index page; ``tone`` is ``good``, ``bad`` or empty."""

    english: str
    korean: str
    value: str
    tone: str = ""


def write_index(root: Path, links: Sequence[Link], figures: Sequence[Figure], note: str) -> None:
    """Write the index page: what there is, and how the last day stands. ``note`` is one line below, as it is."""
    root.mkdir(parents=True, exist_ok=True)
    page = _PAGE.replace("@LINKS@", "\n".join(map(_link, links)))
    page = page.replace("@FIGURES@", "\n".join(map(_figure, figures))).replace("@NOTE@", html.escape(note))
    temporary = root / "index.html.new"
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(root / "index.html")


def _both(english: str, korean: str) -> str:
    return f'<span lang="en">{html.escape(english)}</span><span lang="ko">{html.escape(korean)}</span>'


def _link(link: Link) -> str:
    title = _both(link.english, link.korean)
    about = _both(link.about_english, link.about_korean)
    return f'<a class="card" href="{html.escape(link.url)}"><strong>{title}</strong><small>{about}</small></a>'


def _figure(figure: Figure) -> str:
    name = _both(figure.english, figure.korean)
    return f'<div class="figure {figure.tone}"><dt>{name}</dt><dd>{html.escape(figure.value)}</dd></div>'


_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tidemark</title>
<style>
:root { --paper:#f6f8fa; --card:#fff; --ink:#16202a; --soft:#5b6875; --line:#dbe2e8; --tide:#0b6e8f; --good:#1a7f4b;
  --bad:#b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper:#0f151b; --card:#18212a; --ink:#e6edf3; --soft:#9aa8b5;
  --line:#2a3641; --tide:#58b8d8; --good:#58c48b; --bad:#f2857d; } }
* { box-sizing:border-box }
body { margin:0; background:var(--paper); color:var(--ink); line-height:1.5;
  font:16px/1.5 system-ui, -apple-system, "Apple SD Gothic Neo", "Noto Sans KR", "Malgun Gothic", sans-serif; }
main { max-width:46rem; margin:0 auto; padding:1.5rem 1rem 3rem; }
header { display:flex; align-items:baseline; justify-content:space-between; gap:1rem;
  border-bottom:3px solid var(--tide); padding-bottom:.75rem; }
h1 { margin:0; font-size:1.6rem; letter-spacing:-.02em; }
p { color:var(--soft); margin:.75rem 0 1.25rem; }
button { font:inherit; font-size:.9rem; color:var(--tide); background:none; border:1px solid var(--line);
  border-radius:.4rem; padding:.45rem .8rem; min-height:2.6rem; cursor:pointer; }
nav { display:grid; gap:.75rem; grid-template-columns:repeat(auto-fill, minmax(15rem, 1fr)); }
.card { display:block; background:var(--card); border:1px solid var(--line); border-radius:.6rem; padding:.9rem 1rem;
  color:inherit; text-decoration:none; }
.card:hover, .card:focus-visible { border-color:var(--tide); }
.card strong { display:block; color:var(--tide); }
.card small { color:var(--soft); }
dl { display:grid; gap:.5rem .75rem; grid-template-columns:repeat(auto-fill, minmax(9.5rem, 1fr)); margin:1.5rem 0 0; }
.figure { background:var(--card); border:1px solid var(--line); border-radius:.6rem; padding:.6rem .8rem; }
dt { color:var(--soft); font-size:.85rem; }
dd { margin:0; font-size:1.15rem; font-variant-numeric:tabular-nums; }
.good dd { color:var(--good); }
.bad dd { color:var(--bad); }
code { display:block; margin-top:1.25rem; padding:.75rem 1rem; background:var(--card); border:1px solid var(--line);
  border-radius:.6rem; overflow-x:auto; white-space:nowrap; font-size:.85rem; }
html[lang=en] span[lang=ko], html[lang=ko] span[lang=en] { display:none; }
</style>
<main>
<header><h1>Tidemark</h1><button id="language" type="button" lang="ko">한국어</button></header>
<p><span lang="en">The platform on this machine. What came in is what lies there: nothing lost, nothing doubled.</span>
<span lang="ko">이 컴퓨터에서 돌고 있는 플랫폼입니다. 들어온 것이 그대로 남아 있습니다. 잃은 것도, 겹친 것도 없습니다.</span></p>
<nav>
@LINKS@
</nav>
<dl>
@FIGURES@
</dl>
<code>@NOTE@</code>
</main>
<script>
const root = document.documentElement, button = document.getElementById("language");
function show(language) {
  root.lang = language;
  button.lang = language === "ko" ? "en" : "ko";
  button.textContent = language === "ko" ? "English" : "한국어";
  try { localStorage.setItem("language", language); } catch { /* private mode: the choice isn't kept */ }
}
let chosen = null;
try { chosen = localStorage.getItem("language"); } catch { /* as above */ }
show(chosen || (navigator.language.startsWith("ko") ? "ko" : "en"));
button.addEventListener("click", () => show(root.lang === "ko" ? "en" : "ko"));
</script>
</html>
"""
