"""The API's own spelling: bytes to a study and its network, an answer to bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import orjson

from electrisim.elements import KINDS, Element, kind_named, nearest_kind
from electrisim.fields import read
from electrisim.network import Entry, Network, told
from electrisim.problems import Problem, ProblemError, nearest, shorten
from electrisim.results import Answer
from electrisim.settings import Settings
from electrisim.studies import STUDIES

MEDIA_TYPE = "application/json"
PROBLEM_TYPE = "application/problem+json"

Library = Mapping[str, Mapping[str, Mapping[str, Any]]]


# -- decoding --------------------------------------------------------------------------------------


def parse(body: bytes) -> Any:
    """JSON to plain values; raises ProblemError (400) for what is not JSON or nested too deep."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise _malformed(f"The body is not JSON: {shorten(str(error), 200)}.") from error
    except RecursionError as error:
        raise _malformed("The body is nested too deep.") from error


def _malformed(message: str) -> ProblemError:
    return ProblemError([Problem(kind="malformed", message=message)], status=400, kind="malformed")


def decode(body: bytes, plain: Any, library: Library) -> tuple[Settings, Network]:
    """A study's settings and its network from a request body.

    library  standard types: table → name → parameters
    Raises ProblemError with every fault of the request.
    """
    if not isinstance(plain, dict):
        raise _malformed(
            "The body must be a JSON object with simulationType, elements and settings."
        )
    problems: list[Problem] = []
    settings = _settings(plain, problems)
    entries = _entries(plain.get("elements"), library, problems)
    problems += _repeated_keys(body, plain)
    problems += [
        Problem(
            kind="unknown-key",
            message=f"A request has no “{shorten(key)}”.{nearest(key, _KEYS)}",
            field=shorten(key, 200),
        )
        for key in plain
        if key not in _KEYS
    ]
    frequency_hz = settings.frequency if settings else 50.0
    network = None
    try:
        network = Network(entries, frequency_hz)
    except ProblemError as error:
        # Elements that could not be read are missing here; what refers to them is not to blame.
        unread = _ids(plain) - {entry.id for entry in entries}
        problems += [p for p in error.problems if not _blames_unread(p, plain, unread)]
    if problems or network is None or settings is None:
        raise ProblemError(problems)
    return settings, network


_KEYS = ("simulationType", "elements", "settings")


def _ids(plain: Mapping[str, Any]) -> set[str]:
    elements = plain.get("elements")
    return set(elements) if isinstance(elements, dict) else set()


def _blames_unread(problem: Problem, plain: Mapping[str, Any], unread: set[str]) -> bool:
    if not unread or problem.kind == "no-bus":
        return bool(unread)
    element = plain["elements"].get(problem.element)
    if not isinstance(element, dict) or not problem.kind.startswith("unknown-"):
        return False
    reference = (_parameters(element)[0]).get(problem.field)
    names = {
        plain["elements"][id_].get("name")
        for id_ in unread
        if isinstance(plain["elements"][id_], dict)
    }
    return reference in unread or reference in names


def _settings(plain: Mapping[str, Any], problems: list[Problem]) -> Settings | None:
    word = plain.get("simulationType")
    study = STUDIES.get(word) if isinstance(word, str) else None
    if study is None:
        told_as = "is missing" if word is None else f"“{shorten(word)}” is unknown"
        hint = nearest(word, STUDIES) if isinstance(word, str) else ""
        problems.append(
            Problem(
                kind="unknown-study",
                message=f"simulationType {told_as}; the studies are {', '.join(STUDIES)}.{hint}",
                field="simulationType",
            )
        )
    given = plain.get("settings")
    if given is not None and not isinstance(given, dict):
        problems.append(
            Problem(kind="not-an-object", message="settings must be an object.", field="settings")
        )
        return None
    if study is None:
        return None
    settings, faults = read(study.Settings, given or {}, f"The study {word}", "setting")
    problems += faults
    return settings


def _entries(elements: Any, library: Library, problems: list[Problem]) -> list[Entry]:
    if not isinstance(elements, dict) or not elements:
        problems.append(
            Problem(
                kind="no-elements",
                message="elements must be an object of elements by their ids.",
                field="elements",
            )
        )
        return []
    found = (_entry(id_, element, library, problems) for id_, element in elements.items())
    return [entry for entry in found if entry]


def _entry(id_: str, element: Any, library: Library, problems: list[Problem]) -> Entry | None:
    if not isinstance(element, dict):
        problems.append(
            Problem(
                kind="not-an-object",
                message=f"Element “{shorten(id_)}” must be an object.",
                element=id_,
            )
        )
        return None
    typ, name = element.get("typ"), element.get("name")
    kind = kind_named(typ) if isinstance(typ, str) else None
    label = name if isinstance(name, str) else None
    what = told(kind, id_, label)
    faults: list[Problem] = []
    if kind is None:
        told_as = "has no typ" if typ is None else f"has the unknown typ “{shorten(typ)}”"
        hint = nearest_kind(typ) if isinstance(typ, str) else ""
        faults.append(Problem(kind="unknown-typ", message=f"{what} {told_as}.{hint}", field="typ"))
    if name is not None and label is None:
        faults.append(
            Problem(kind="not-a-text", message=f"{what}: name must be a text.", field="name")
        )
    parameters, twice = _parameters(element)
    if parameters is None:
        faults.append(
            Problem(
                kind="not-an-object",
                message=f"{what}: parameters must be an object.",
                field="parameters",
            )
        )
    faults += [
        Problem(
            kind="given-twice",
            message=f"{what}: {field} stands both in parameters and beside it.",
            field=field,
        )
        for field in twice
    ]
    record = None
    if kind is not None and parameters is not None:
        parameters = _with_std_type(kind, parameters, library, what, faults)
        record, misread = read(kind, parameters, what)
        faults += misread
    problems += [msgspec.structs.replace(fault, element=id_, name=label) for fault in faults]
    return Entry(id_, label, record) if record is not None and not faults else None


def _parameters(element: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """An element's parameters, nested and flat ones together, and the fields given both ways."""
    flat = {
        name: value for name, value in element.items() if name not in ("typ", "name", "parameters")
    }
    nested = element.get("parameters")
    if nested is None:
        return flat, []
    if not isinstance(nested, dict):
        return None, []
    return {**flat, **nested} if flat else nested, [name for name in flat if name in nested]


def _with_std_type(
    kind: type[Element],
    parameters: dict[str, Any],
    library: Library,
    what: str,
    faults: list[Problem],
) -> dict[str, Any]:
    """The parameters completed from their standard type; explicit values win."""
    std_type = parameters.get("std_type")
    if not kind.from_std_type or not isinstance(std_type, str) or not std_type:
        return parameters
    types = library.get(kind.table, {})
    if std_type not in types:
        faults.append(
            Problem(
                kind="unknown-std-type",
                message=f"{what} has the unknown std_type “{shorten(std_type)}”."
                f"{nearest(std_type, types)}",
                field="std_type",
            )
        )
        return parameters
    return {
        **types[std_type],
        **{name: value for name, value in parameters.items() if value not in (None, "")},
    }


def _repeated_keys(body: bytes, plain: Mapping[str, Any]) -> Iterator[Problem]:
    return iter(())


# -- encoding --------------------------------------------------------------------------------------


def encode(network: Network, answer: Answer) -> bytes:
    """An answer as strict JSON."""
    return orjson.dumps(
        {
            "success": True,
            "results": _records(network, answer),
            "convergence": True,
            "iterations": answer.iterations,
            **answer.beside,
            "warnings": answer.warnings,
            "certificate": msgspec.structs.asdict(answer.certificate)
            if answer.certificate
            else None,
            "engine": answer.engine,
        },
        default=msgspec.to_builtins,
    )


def _records(network: Network, answer: Answer) -> dict[str, list[dict[str, Any]]]:
    """One list per result key, one record per element, in the request's order."""
    results: dict[str, list[dict[str, Any]]] = {}
    for kind in KINDS:
        if kind not in network.kinds:
            continue
        rows = network.rows(kind)
        columns = answer.tables.get(kind, {})
        keys = ("id", "name", *columns)
        values = [rows.ids, rows.names, *(column.tolist() for column in columns.values())]
        records = [dict(zip(keys, row, strict=True)) for row in zip(*values, strict=True)]
        results.setdefault(kind.key, []).extend(records)
    return results


def encode_problem(error: ProblemError) -> bytes:
    """A ProblemError as application/problem+json (RFC 9457)."""
    return orjson.dumps(
        {
            "type": f"about:blank#{error.kind}",
            "title": error.kind,
            "status": error.status,
            "detail": error.sentence,
            "success": False,
            "error": error.sentence,
            "errors": [msgspec.to_builtins(problem) for problem in error.problems],
            **error.extra,
        },
        default=msgspec.to_builtins,
    )
