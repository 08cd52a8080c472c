"""The API's own spelling: bytes to a study and its network, an answer to bytes."""

from __future__ import annotations

import functools
import json
import operator
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from electrisim.elements import FIELDS, KINDS, Element, Switch, kind_named, nearest_kind
from electrisim.fields import ABSENT, present, read
from electrisim.network import Array, Entry, Network, Rows, told
from electrisim.problems import ERRORS, Problem, ProblemError, nearest, shorten
from electrisim.results import Answer
from electrisim.settings import Settings
from electrisim.studies import STUDIES
from electrisim.wire import columns as in_columns
from electrisim.wire.scripted import with_imported

MEDIA_TYPE = "application/json"
PROBLEM_TYPE = "application/problem+json"

Library = Mapping[str, Mapping[str, Mapping[str, Any]]]


# -- decoding --------------------------------------------------------------------------------------


def decode(body: bytes, library: Library) -> tuple[Settings, Network]:
    """A study's settings and its network from a request body.

    library  standard types: table → name → parameters
    Raises ProblemError with every fault of the request.
    """
    return decode_strict(body) or decode_loose(body, library)


def _strict_entry(kind: type[Element]) -> type[msgspec.Struct]:
    return msgspec.defstruct(
        f"{kind.__name__}Entry",
        [("parameters", kind), ("name", str | None, None)],
        tag_field="typ",
        tag=kind.typ,
        forbid_unknown_fields=True,
        gc=False,
    )


_AnyEntry = functools.reduce(operator.or_, map(_strict_entry, KINDS))
_StrictRequest = msgspec.defstruct(
    "Request",
    [
        ("simulationType", str),
        ("elements", dict[str, _AnyEntry]),  # type: ignore[valid-type]
        ("settings", msgspec.Raw, msgspec.Raw(b"{}")),
    ],
    forbid_unknown_fields=True,
)
_STRICT_REQUEST: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_StrictRequest)
_STRICT_SETTINGS = {name: msgspec.json.Decoder(study.Settings) for name, study in STUDIES.items()}

#: Bodies that a person may have written; in larger ones only repeated elements are looked for.
_HANDWRITTEN_BYTES = 64 * 1024


def decode_strict(body: bytes) -> tuple[Settings, Network] | None:
    """Well-formed bodies, straight into the catalogue's records; None for all others."""
    try:
        request = _STRICT_REQUEST.decode(body)
        settings = _STRICT_SETTINGS[request.simulationType].decode(request.settings)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, RecursionError):
        return None
    elements = request.elements
    repeated = body.count(b'"parameters"') != len(elements) or len(body) <= _HANDWRITTEN_BYTES
    if (repeated and _repeated_keys(body)) or b'"std_type"' in body:
        return None
    entries = ((id_, entry.name, entry.parameters) for id_, entry in elements.items())
    return settings, Network(entries, settings.frequency)


def parse(body: bytes) -> Any:
    """JSON to plain values; raises ProblemError (400) for what is not JSON or nested too deep."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed(f"The body is not JSON: {shorten(str(error), 200)}.") from error
    except RecursionError as error:
        raise _too_deep() from error


def _too_deep() -> ProblemError:
    return malformed("The body is nested too deep.")


def malformed(message: str) -> ProblemError:
    """A body that is no request in any spelling."""
    return ProblemError([Problem(kind="malformed", message=message)], status=400, kind="malformed")


def decode_loose(body: bytes, library: Library) -> tuple[Settings, Network]:
    """All other bodies: numbers as text, flat parameters, other words for a kind, standard types.

    Goes over the plain values, and so finds every fault.
    """
    plain = parse(body)
    if not isinstance(plain, dict):
        raise malformed("The body must be a JSON object with simulationType, elements, settings.")
    study = STUDIES.get(plain["simulationType"]) if _is_named(plain) else None
    plain, notes = with_imported(plain, study.Settings if study else None)
    problems: list[Problem] = []
    settings = _settings(plain, problems)
    entries = _entries(plain.get("elements"), library, problems)
    misread = {problem.element for problem in problems if problem.element is not None}
    try:
        problems += _repeated_keys(body)
    except RecursionError as error:
        raise _too_deep() from error
    problems += [
        Problem(
            kind="unknown-key",
            message=f"A request has no “{shorten(key)}”.{nearest(key, _KEYS)}",
            field=shorten(key, 200),
        )
        for key in plain
        if key not in _KEYS
    ]
    network = None
    try:
        network = Network(entries, settings.frequency if settings else 50.0)
    except ProblemError as error:
        unread = _ids(plain) - {entry.id for entry in entries}
        problems += [
            p
            for p in error.problems
            if not _blames_unread(p, plain, unread) and (p.element not in misread or _refers(p))
        ]
    if problems or network is None or settings is None:
        raise ProblemError(problems)
    network.warnings += notes
    return settings, network


def _is_named(plain: Mapping[str, Any]) -> bool:
    return isinstance(plain.get("simulationType"), str)


_KEYS = ("simulationType", "elements", "settings")


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys came more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated: set[str] = set()
        if len(self) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            self.repeated = {key for key, count in counts.items() if count > 1}


def _repeated_keys(body: bytes) -> list[Problem]:
    """Keys that stand twice in one object: JSON keeps one of the two values and loses the other."""
    plain = json.loads(body, object_pairs_hook=_Object)
    if not isinstance(plain, _Object):
        return []
    problems = [_repeated(key, None, None) for key in plain.repeated]
    elements = plain.get("elements")
    if isinstance(elements, _Object):
        problems += [
            Problem(
                kind="duplicate-id",
                message=f"Two elements have the id “{shorten(id_)}”.",
                element=id_,
            )
            for id_ in sorted(elements.repeated)
        ]
        for id_, element in elements.items():
            for record in (
                (element, element.get("parameters")) if isinstance(element, _Object) else ()
            ):
                if isinstance(record, _Object):
                    problems += [
                        _repeated(key, id_, element.get("name")) for key in record.repeated
                    ]
    return problems


def _repeated(key: str, id_: str | None, name: Any) -> Problem:
    label = name if isinstance(name, str) else None
    where = f" of element “{shorten(label or id_ or '')}”" if id_ is not None else ""
    message = f"The key “{shorten(key)}”{where} stands twice."
    return Problem(kind="given-twice", message=message, element=id_, name=label, field=key)


def _ids(plain: Mapping[str, Any]) -> set[str]:
    elements = plain.get("elements")
    return set(elements) if isinstance(elements, dict) else set()


def _blames_unread(problem: Problem, plain: Mapping[str, Any], unread: set[str]) -> bool:
    """Whether a problem is only that something refers to an element whose kind is not known."""
    if not unread or problem.kind == "no-bus":
        return bool(unread)
    element = plain["elements"].get(problem.element)
    if not isinstance(element, dict) or not problem.kind.startswith("unknown-"):
        return False
    reference = present(_parameters(element)[0].get(problem.field))
    others = (plain["elements"][id_] for id_ in unread)
    names = [other.get("name") for other in others if isinstance(other, dict)]
    return reference in names or any(reference == id_ for id_ in unread)


def _refers(problem: Problem) -> bool:
    """Whether a problem is one of references, which is true of a stand-in too."""
    return problem.kind.startswith("unknown-") or problem.kind in ("ambiguous-name", "loop")


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
    entries = []
    for id_, element in elements.items():
        entry = _entry(id_, element, library, problems)
        if entry:
            entries.append(entry)
        if len(problems) > _ENOUGH_FAULTS:
            message = f"Reading stopped after {_ENOUGH_FAULTS} faults; there may be more."
            problems.append(Problem(kind="too-many-faults", message=message))
            break
    return entries


#: Nobody mends more at once, and every fault costs the search for what was meant.
_ENOUGH_FAULTS = 1000


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
    if faults:
        record = _stand_in(kind, parameters or {}) if kind else None
    return Entry(id_, label, record) if record is not None else None


def _stand_in(kind: type[Element], parameters: Mapping[str, Any]) -> Element | None:
    """A record with the references of an element that could not be read, and nothing else.

    It takes the element's place, so that what refers to it and what it refers to can be checked.
    """
    fields = FIELDS[kind]
    given = {
        name: present(parameters.get(name)) for name, field in fields.items() if field.refers_to
    }
    references = {name: value for name, value in given.items() if isinstance(value, str)}
    if kind is Switch and "element" not in references:
        return None
    return kind(**dict.fromkeys((f.name for f in fields.values() if f.required), None) | references)


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
    given = {name: value for name, value in parameters.items() if present(value) is not ABSENT}
    # The library also tells what no calculation needs, such as a cross-section; and a vector group
    # that is given brings its own phase shift.
    fields = [name for name in FIELDS[kind] if not ("vector_group" in given and "shift" in name)]
    return {name: value for name, value in types[std_type].items() if name in fields} | given


# -- encoding --------------------------------------------------------------------------------------


def encode(network: Network, answer: Answer) -> bytes | Iterator[bytes]:
    """An answer as strict JSON: numbers in full precision, null where there is none.

    In pieces where it has more than should be in memory at once.
    """
    results: Mapping[str, Any]
    if answer.series is None:
        results = {key: _list(parts, network) for key, parts in _by_key(network, answer)}
    else:
        results = in_columns.by_key(network, answer.series)
    body = msgspec.json.encode(
        {
            "success": True,
            "results": results,
            "convergence": True,
            "iterations": answer.iterations,
            **answer.beside,
            "warnings": answer.warnings,
            "certificate": answer.certificate,
            "engine": answer.engine,
        }
    )
    return in_columns.with_streamed(body, answer.streamed) if answer.streamed else body


_Part = tuple[Rows, Mapping[str, Array]]


def _by_key(network: Network, answer: Answer) -> Iterator[tuple[str, list[_Part]]]:
    """The result lists by their keys; shunts and shunt reactors share one."""
    parts: dict[str, list[_Part]] = {}
    for kind in KINDS:
        if kind in network.kinds:
            part = (network.rows(kind), answer.tables.get(kind, {}))
            parts.setdefault(kind.key, []).append(part)
    yield from parts.items()


def _list(parts: list[_Part], network: Network) -> msgspec.Raw:
    """One JSON record per element, in the request's order."""
    if len(parts) == 1:
        return msgspec.Raw(b"[" + b",".join(_chunks(*parts[0])) + b"]")
    place = {id_: at for at, id_ in enumerate(network.order)}
    pairs = [
        pair
        for rows, columns in parts
        for pair in zip(rows.ids, _records(rows, columns, slice(None)), strict=True)
    ]
    pairs.sort(key=lambda pair: place[pair[0]])
    return msgspec.Raw(msgspec.json.encode([record for _, record in pairs]))


#: Records made at once: few enough that their memory is used again while it is still in the cache.
_CHUNK = 512


def _chunks(rows: Rows, columns: Mapping[str, Array]) -> Iterator[bytes]:
    for start in range(0, len(rows), _CHUNK):
        yield msgspec.json.encode(_records(rows, columns, slice(start, start + _CHUNK)))[1:-1]


def _records(rows: Rows, columns: Mapping[str, Array], part: slice) -> list[msgspec.Struct]:
    record = _record(("id", "name", *columns))
    values = (column[part].tolist() for column in columns.values())
    return list(map(record, rows.ids[part], rows.names[part], *values))


@functools.cache
def _record(keys: tuple[str, ...]) -> type[msgspec.Struct]:
    """A record of a result list; a struct is made and written several times faster than a dict."""
    return msgspec.defstruct("Record", [(key, Any) for key in keys], gc=False)


def encode_problem(error: ProblemError) -> bytes:
    """A ProblemError as application/problem+json (RFC 9457)."""
    return msgspec.json.encode(
        {
            "type": f"/docs#{error.kind}",
            "title": ERRORS[error.kind].title if error.kind in ERRORS else error.kind,
            "status": error.status,
            "detail": error.sentence,
            "success": False,
            "error": error.sentence,
            "errors": error.problems,
            **error.extra,
        }
    )
