"""The feeder's page: one document with its style and its script, which asks nobody but us."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

_FOLDER = Path(__file__).parent


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _allowed(text: str) -> str:
    """How a content security policy names an embedded style or script."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


_STYLE, _SCRIPT = _text("page.css"), _text("drawing.js") + _text("page.js")

PAGE = (
    _text("page.html").replace("/* page.css */", _STYLE).replace("/* page.js */", _SCRIPT).encode()
)

#: Nothing but what is embedded may run, and nobody but this server may be asked.
POLICY = (
    f"default-src 'none'; style-src {_allowed(_STYLE)}; script-src {_allowed(_SCRIPT)}; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
