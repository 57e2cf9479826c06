"""Pages of a check's results (Data Docs) that need no network.

Lives here: having Great Expectations draw them, and taking out of them what they would fetch from elsewhere. Doesn't:
serving them (``local.pages``, or any web server).
"""

from __future__ import annotations

import re
import shutil
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
.modal, .navbar, button, .cooltip, .btn, #ge-walkthrough, .sticky-top nav, #tbl-index-filter { display: none }
.fa-check-circle::before { content: "\\2713"; color: #197a3e; font-style: normal; font-weight: bold }
.fa-times::before, .fa-exclamation-triangle::before { content: "\\2717"; color: #b42318; font-style: normal }
.badge { border-radius: 3px; padding: 0 .3rem; background: #eef1f6 } .text-success { color: #197a3e }
.text-danger, .text-warning { color: #b42318 } .row { margin: .25rem 0 } ul { padding-left: 1.2rem }
@media (prefers-color-scheme: dark) { body { background: #14181f; color: #dfe5ee } td, th { border-color: #384152 }
  a { color: #8ab4f8 } .badge { background: #2a3240 } }
</style>
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


def without_network(folder: str) -> None:
    """Take out of every page what it would fetch from other hosts, and put a style of our own in."""
    for page in Path(folder).rglob("*.html"):
        text = _FETCHES.sub("", page.read_text("utf-8"))
        page.write_text(text.replace("</head>", _STYLE + "</head>", 1), "utf-8")
    shutil.rmtree(Path(folder) / "static" / "fonts", ignore_errors=True)
