"""Pages of a check's results (Data Docs) that need no network.

Lives here: having Great Expectations draw them, and taking out of them what they would fetch from elsewhere. Doesn't:
serving them (``local.pages``, or any web server).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, Final

from great_expectations.checkpoint import UpdateDataDocsAction
from great_expectations.data_context import AbstractDataContext

_SITE: Final = "pages"
#: Tags that fetch something: scripts and styles of other hosts, pictures of other hosts.
_FETCHES: Final = re.compile(
    r"<script[^>]*\bsrc=\"https?://[^>]*>\s*</script>|<link[^>]*\bhref=\"https?://[^>]*>|<img[^>]*\bsrc=\"https?://[^>]*>",
    re.IGNORECASE,
)
#: What the pages looked like with the styles that are no longer fetched, as far as it helps reading.
_STYLE: Final = """
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1100px; padding: 1rem; color: #1c2430 }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; display: block; overflow-x: auto }
td, th { border: 1px solid #d8dde6; padding: .35rem .6rem; text-align: left; vertical-align: top }
a { color: #2257a8 } h1, h2, h3, h4, h5 { line-height: 1.25 }
.modal, .navbar, footer, .ge-breadcrumbs, button, .cooltip, .btn, #ge-walkthrough, .sticky-top nav { display: none }
.fa-check-circle::before { content: "\\2713"; color: #197a3e; font-style: normal; font-weight: bold }
.fa-times::before, .fa-exclamation-triangle::before { content: "\\2717"; color: #b42318; font-style: normal }
.badge { border-radius: 3px; padding: 0 .3rem; background: #eef1f6 } .text-success { color: #197a3e }
.text-danger, .text-warning { color: #b42318 } .row { margin: .25rem 0 } ul { padding-left: 1.2rem }
@media (prefers-color-scheme: dark) { body { background: #14181f; color: #dfe5ee } td, th { border-color: #384152 }
  a { color: #8ab4f8 } .badge { background: #2a3240 } }
</style>
"""

_INDEX: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Data quality</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
.scroll {{ overflow-x: auto }} table {{ border-collapse: collapse; width: 100% }}
td, th {{ padding: .45rem .7rem; border-bottom: 1px solid #8885; text-align: left; vertical-align: top }}
.n {{ text-align: right; font-variant-numeric: tabular-nums }} .good {{ color: #1b8a4b }} .bad {{ color: #d0342c }}
@media (max-width: 32rem) {{ td, th {{ padding: .4rem .3rem }} }}
</style></head><body>
<h1>Data quality</h1>
<p>Rows that were loaded since the check before, held against what their contract promises. Checked {at}.
Each dataset's page has every expectation. All checks there were: <code>ops.quality</code>.</p>
<div class="scroll"><table>
<tr><th>Exchange</th><th>Dataset</th><th class="n">Rows</th><th>Found</th></tr>
{rows}
</table></div></body></html>
"""


def actions(context: AbstractDataContext, folder: str) -> list[Any]:
    """What a checkpoint does after its run: draw the pages into ``folder``, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": folder}
    index = {"class_name": "DefaultSiteIndexBuilder"}
    context.add_data_docs_site(
        _SITE, {"class_name": "SiteBuilder", "store_backend": backend, "site_index_builder": index}
    )
    return [UpdateDataDocsAction(name=_SITE, site_names=[_SITE])]


def write_index(folder: str, rows: Sequence[tuple[str, str, str, int, str]], at: datetime) -> None:
    """The first page: a row a batch (name, exchange, dataset, rows checked, what is broken), each with its page."""
    place = Path(folder)
    told = []
    for name, exchange, dataset, count, broken in rows:
        page = next((p for p in place.glob(f"validations/{name}/**/*.html")), None)
        about = escape(dataset)
        link = f'<a href="{page.relative_to(place)}">{about}</a>' if page else about
        mark = f'<td class="bad">✗ {escape(broken)}</td>' if broken else '<td class="good">✓ as expected</td>'
        told.append(f'<tr><td>{escape(exchange)}</td><td>{link}</td><td class="n">{count:,}</td>{mark}</tr>')
    (place / "index.html").write_text(_INDEX.format(at=f"{at:%Y-%m-%d %H:%M} UTC", rows="\n".join(told)), "utf-8")


def without_network(folder: str) -> None:
    """Take out of every page what it would fetch from other hosts, and put a style of our own in."""
    for page in Path(folder).rglob("*.html"):
        text = _FETCHES.sub("", page.read_text("utf-8"))
        page.write_text(text.replace("</head>", _STYLE + "</head>", 1), "utf-8")
    shutil.rmtree(Path(folder) / "static" / "fonts", ignore_errors=True)
