"""Elements given as an OpenDSS script, in a request in the documented spelling."""

from __future__ import annotations

from typing import Any

from electrisim import dss
from electrisim.fields import fields_of
from electrisim.problems import Problem, ProblemError
from electrisim.settings import Settings


def with_imported(
    plain: dict[str, Any], study: type[Settings] | None
) -> tuple[dict[str, Any], list[str]]:
    """A request whose elements are `{"opendss": "<script>"}`, with those of the script.

    Its settings stand in for those that are not given. Beside it, what the import passed over.
    """
    elements = plain.get("elements")
    if not isinstance(elements, dict) or not isinstance(elements.get("opendss"), str):
        return plain, []
    if len(elements) > 1:
        message = "elements are those of the script; others cannot stand beside it."
        raise ProblemError([Problem(kind="contradiction", message=message, field="elements")])
    imported = dss.graph(dss.read_script(elements["opendss"]))
    given = plain.get("settings")
    own = {name: value for name, value in imported.settings.items() if _has(study, name)}
    if isinstance(given, dict) and given.get("solver") == "pandapower":
        # Which solves with an ideal source.
        own.pop("source_impedance", None)
    settings = {**own, **given} if isinstance(given, dict) else given or own
    notes = [f"{note.place}: {note.message}" for note in imported.notes]
    return {**plain, "elements": imported.elements, "settings": settings}, notes


def _has(study: type[Settings] | None, name: str) -> bool:
    return study is not None and name in fields_of(study)
