"""Puts an HTML page together, and writes it to a file.

A page has a body, a style and a script of its own, which are files of a package: NAME.html,
NAME.css and NAME.js. The style and the script follow those that all pages share. The script draws
the data.
"""

import base64
import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from charlstm.errors import CharlstmError
from charlstm.system.atomic_files import atomic_write

# Escapes of the ASCII characters that could end a <script> element. The json module already escapes
# all characters outside of ASCII.
ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


def render(package: str, name: str, data: Any) -> str:
    """Return the page `name` of a package as HTML, with its data.

    Nothing in the data can become markup or script of the page. The Content-Security-Policy of the
    page allows only the page's own style and script.
    """

    def read(package: str, file: str) -> str:
        return files(package).joinpath(file).read_text("utf-8")

    style = read(__package__, "page.css") + read(package, f"{name}.css")
    script = read(__package__, "page.js") + read(package, f"{name}.js")
    parts = {
        "STYLE_HASH": _hash(style),
        "SCRIPT_HASH": _hash(script),
        "STYLE": style,
        "BODY": read(package, f"{name}.html"),
        "DATA": to_script_json(data),
        "SCRIPT": script,
    }
    return re.sub("@([A-Z_]+)@", lambda found: parts[found[1]], read(__package__, "skeleton.html"))


def write_page(path: Path, page: str) -> int:
    """Write a page to a file atomically; return the size of the page in bytes."""
    encoded = page.encode()
    try:
        with atomic_write(path) as file:
            file.write(encoded)
    except (OSError, ValueError) as error:  # ValueError: the path has no file name, as "."
        reason = getattr(error, "strerror", None) or error
        raise CharlstmError(f"{path}: cannot be written: {reason}") from error
    return len(encoded)


def to_script_json(data: Any) -> str:
    """Return JSON that can stand inside a <script> element: no text in it can end the element."""
    return json.dumps(data, separators=(",", ":")).translate(ESCAPES)


def _hash(content: str) -> str:
    """Return the source expression of a Content-Security-Policy that allows this content."""
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
