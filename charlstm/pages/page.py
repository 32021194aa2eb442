"""Puts an HTML page together, and writes it to a file.

A page has a body, a style and a script of its own, which are files of a package: NAME.html,
NAME.css and NAME.js. The style and the script follow those that all pages share. The script draws
the data.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from charlstm.system.output_files import write_output

PAGES = __package__  # this package, which also has pages of its own

# Escapes of the ASCII characters that could end a <script> element. The json module already escapes
# all characters outside of ASCII.
ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


def render(
    package: str,
    name: str,
    data: Any,
    parts: Sequence[str] = (),
    scripts: Sequence[str] = (),
    worker: Sequence[str] = (),
    asks: bool = False,
) -> str:
    """Return the page `name` of a package as HTML, with its data.

    parts: the names of further files of style and script of this package that the page uses, such
        as "text". scripts: the names of further scripts, which have no style.
    worker: the names of the scripts that a worker of the page runs. The page finds them in its
        data, as `worker`. Without such scripts, it may start no worker.
    asks: whether the page may ask the server that it came from. Otherwise it can send nothing.

    Nothing in the data can become markup or script of the page. The Content-Security-Policy of the
    page allows only the page's own style and script.
    """
    shared = [(__package__, part) for part in ("page", *parts)]
    without_style = [(__package__, part) for part in scripts]
    style = "".join(_read(*each, "css") for each in (*shared, (package, name)))
    script = "".join(_read(*each, "js") for each in (*shared, *without_style, (package, name)))
    if worker:
        data = data | {"worker": "".join(_read(__package__, part, "js") for part in worker)}
    pieces = {
        "STYLE_HASH": _hash(style),
        "SCRIPT_HASH": _hash(script),
        "CONNECT": "connect-src 'self'; " if asks else "",
        "WORKER": "worker-src blob:; " if worker else "",
        "STYLE": style,
        "BODY": _read(package, name, "html"),
        "DATA": to_script_json(data),
        "SCRIPT": script,
    }
    return re.sub(
        "@([A-Z_]+)@", lambda found: pieces[found[1]], _read(__package__, "skeleton", "html")
    )


@cache
def _read(package: str, name: str, kind: str) -> str:
    return files(package).joinpath(f"{name}.{kind}").read_text("utf-8")


def notebook_frame(page: str, height: int) -> str:
    """Return HTML that shows a page in a notebook, in a frame of its own.

    The script of the page runs in the frame, and cannot reach the notebook. height: in pixels.
    """
    return (
        f'<iframe srcdoc="{html.escape(page)}" sandbox="allow-scripts" width="100%" '
        f'height="{height}" style="border: 0"></iframe>'
    )


def write_page(path: Path, page: str) -> int:
    """Write a page to a file atomically; return the size of the page in bytes."""
    return write_output(path, page.encode())


def to_script_json(data: Any) -> str:
    """Return JSON that can stand inside a <script> element: no text in it can end the element."""
    return json.dumps(data, separators=(",", ":")).translate(ESCAPES)


def _hash(content: str) -> str:
    """Return the source expression of a Content-Security-Policy that allows this content."""
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
