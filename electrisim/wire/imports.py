"""Imports, bytes to bytes: a script or a zip of scripts in, a graph out, in either spelling."""

from __future__ import annotations

from typing import Any

import msgspec

from electrisim import dss
from electrisim.dss.parity import Parity, Solving, parity
from electrisim.engine import Engines
from electrisim.network import Network
from electrisim.problems import Problem, ProblemError, nearest, shorten
from electrisim.wire import documented
from electrisim.wire.frontend import importing

MEDIA_TYPE = documented.MEDIA_TYPE
_ZIP = b"PK\x03\x04"
#: The keys of a request in the documented spelling, and the browser's own.
KEYS = ("opendss", "parity")
BROWSERS = "content"


def import_opendss(
    body: bytes, is_text: bool, main: str | None, engines: Engines, solving: Solving
) -> bytes:
    """The answer to an import; raises ProblemError.

    is_text  the body is the script itself
    main     of a zip, the file to begin with
    """
    if body.startswith(_ZIP):
        return _graph(dss.read_archive(body, main), True, engines, solving)
    if is_text:
        return _graph(dss.read_script(body.decode("utf-8", "replace")), True, engines, solving)
    plain = documented.parse(body)
    if not isinstance(plain, dict):
        raise documented.malformed("The body must be a JSON object with opendss, a zip, or a text.")
    if BROWSERS in plain:
        imported = dss.graph(dss.read_script(_text(plain, BROWSERS)))
        return msgspec.json.encode(importing.tables(_network(imported)))
    wants = plain.get("parity", True)
    problems = [
        Problem(
            kind="unknown-key",
            message=f"An import has no “{shorten(key)}”.{nearest(key, KEYS)}",
            field=shorten(key, 200),
        )
        for key in plain
        if key not in KEYS
    ]
    if not isinstance(wants, bool):
        problems.append(Problem(kind="not-a-flag", message="parity must be true or false."))
    if problems:
        raise ProblemError(problems)
    return _graph(dss.read_script(_text(plain, "opendss")), wants, engines, solving)


def _text(plain: dict[str, Any], key: str) -> str:
    text = plain.get(key)
    if not isinstance(text, str):
        message = f"{key} must be the text of an OpenDSS script."
        raise ProblemError([Problem(kind="not-a-text", message=message, field=key)])
    return text


def _graph(circuit: dss.Circuit, wants_parity: bool, engines: Engines, solving: Solving) -> bytes:
    imported = dss.graph(circuit)
    network = _network(imported)
    found: Parity | None = None
    if wants_parity:
        found = parity(circuit, imported, network, engines, solving)
    return msgspec.json.encode(
        {
            "success": True,
            "elements": imported.elements,
            "settings": imported.settings,
            "notes": imported.notes,
            "warnings": network.warnings,
            "parity": found,
        }
    )


def _network(imported: dss.Imported) -> Network:
    request = {"simulationType": "powerflow", "elements": imported.elements}
    body = msgspec.json.encode({**request, "settings": imported.settings})
    return documented.decode(body, {})[1]
