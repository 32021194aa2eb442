"""The playground: a page to write with a model, in a browser.

The page has two homes: a file that holds the model, which a script of the page computes, and a
server, which computes for it.
"""

from typing import Any

from charlstm.pages.page import PAGES, render


def playground_with_model(data: dict[str, Any]) -> str:
    """Return the page with a model inside, which sends nothing. data: see export/html_page.py."""
    scripts, worker = ("symbols", "model_here"), ("random", "network", "symbols", "model_worker")
    return render(PAGES, "playground", data, ("text",), scripts, worker=worker)


def playground_on_server() -> str:
    """Return the page of a server, which it asks for completions as clients of OpenAI's API do."""
    return render(PAGES, "playground", {}, ("text",), ("symbols", "model_on_server"), asks=True)
