"""/openapi.json and /docs: what the code says of itself. Nothing is fetched from elsewhere.

`flask docs` writes the same pages as Markdown.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import orjson
from flask import Blueprint, Flask, Response, current_app, render_template, request
from markupsafe import Markup, escape

from electrisim.docs import files, json_block, pages, spread
from electrisim.engine import Engines
from electrisim.openapi import document

_STYLE = Path(__file__).with_name("templates").joinpath("docs.css").read_text()
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def blueprint(engines: Engines, root: Path) -> Blueprint:
    """The documentation of these engines and everything above them.

    root  the checkout, with examples/, docs/ and README.md
    """
    documentation = Blueprint(
        "documentation", __name__, template_folder="templates", cli_group=None
    )
    examples = {path.stem: path.read_text().strip() for path in _examples(root)}
    api = document({name: json.loads(text) for name, text in examples.items()})
    api_json = orjson.dumps(api)
    reference = pages(engines)

    @documentation.get("/openapi.json")
    def openapi() -> Response:
        return Response(api_json, mimetype="application/json")

    @documentation.get("/docs")
    def docs() -> Response:
        page = render_template(
            "docs.html",
            api=api,
            base=request.host_url,
            examples=examples,
            pages=reference,
            style=Markup(_STYLE),
        )
        policy = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'"
        return Response(page, mimetype="text/html", headers={"Content-Security-Policy": policy})

    @documentation.app_template_filter("marked")
    def marked(text: str) -> Markup:
        """A text as HTML, its backticks as code."""
        return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))

    @documentation.cli.command("docs")
    def write() -> None:
        """Write the generated pages of docs/ and README.md."""
        for path, text in generated(current_app, engines, root).items():
            path.write_text(text)

    return documentation


def generated(app: Flask, engines: Engines, root: Path) -> dict[Path, str]:
    """The generated pages, path → text, with what this application answers."""
    request = (root / "examples/powerflow.json").read_text().strip()
    wrong = json.loads(request)
    cable = wrong["elements"]["l1"]["parameters"]
    cable["to_bus"] = "b9"
    cable["lenght_km"] = -cable.pop("length_km")
    client = app.test_client()
    answer = client.post("/", data=request).get_json()
    error = client.post("/", json=wrong).get_json(force=True)
    parts = {"request": request, "answer": spread(answer), "error": spread(error)}
    return files(engines, root, {name: json_block(text) for name, text in parts.items()})


def _examples(root: Path) -> list[Path]:
    """The example requests, the simplest first."""
    return sorted((root / "examples").glob("*.json"), key=lambda path: path.stat().st_size)
