"""The playground: a page to write with a model, in a browser.

The page has two homes: a file that holds the model, which the script of the page computes, and a
server, which computes for it.
"""

from typing import Any

from charlstm.pages.page import PAGES, render

SCRIPTS = ("random", "network", "symbols", "model_here")


def playground(data: dict[str, Any]) -> str:
    """Return the page as HTML. data: see export/html_page.py, which makes it."""
    return render(PAGES, "playground", data, ("text",), SCRIPTS)
