"""The reference pages, derived from the catalogue, the studies, the result columns and the engines.

One list of pages is written two ways: as Markdown into docs/ and README.md (`script/docs`), and as
HTML at /docs. In texts, backticks mark code; nothing else is markup.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from electrisim.doctor import RULES
from electrisim.elements import FIELDS, KINDS, Bus, Element
from electrisim.engine import Engines
from electrisim.feeder import documentation as feeder
from electrisim.fields import Field, fields_of
from electrisim.openapi import MODELS
from electrisim.problems import ERRORS
from electrisim.problems import KINDS as PROBLEMS
from electrisim.results import meaning_of, unit_of
from electrisim.settings import Settings
from electrisim.studies import STUDIES, Study, harmonics, opf, shortcircuit


class Table(NamedTuple):
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


class Section(NamedTuple):
    """A heading, a paragraph and a table."""

    title: str
    text: str
    table: Table | None = None


class Page(NamedTuple):
    """A page: its file's name, its title, a paragraph, its sections."""

    name: str
    title: str
    text: str
    sections: list[Section]


def pages(engines: Engines) -> list[Page]:
    """All reference pages."""
    return [
        _studies(),
        _elements(),
        _results(),
        _engines(engines),
        _feeder(),
        _errors(),
        _diagnosis(),
    ]


# -- studies ---------------------------------------------------------------------------------------


def _studies() -> Page:
    return Page(
        "studies",
        "Studies and their settings",
        "`simulationType` names the study. Settings are flat; an absent one has its default, an "
        "unknown one is an error, and one that the engine does not know is refused.",
        [_study(name, study) for name, study in STUDIES.items()],
    )


def studies() -> Table:
    """One row per study, for the README."""
    return Table(("`simulationType`", "study"), [(f"`{n}`", _about(s)) for n, s in STUDIES.items()])


def _about(study: Study) -> str:
    return inspect.cleandoc(inspect.getmodule(study.run).__doc__ or "").partition("\n\n")[0]


def _study(name: str, study: Study) -> Section:
    header = ("setting", "unit", "values", "default", "meaning")
    common, fields = fields_of(Settings), fields_of(study.Settings)
    names = [*(name for name in fields if name not in common), *common]
    rows = [_field(fields[name]) for name in names]
    return Section(name, _about(study), Table(header, rows))


# -- elements --------------------------------------------------------------------------------------


def _elements() -> Page:
    return Page(
        "elements",
        "Elements and their parameters",
        "Names and units are pandapower's columns for the kind, whichever engine solves. A "
        "parameter without default must be given; “–” is the default of one whose absence has a "
        "meaning.",
        [_kind(kind) for kind in KINDS],
    )


def _kind(kind: type[Element]) -> Section:
    header = ("parameter", "unit", "values", "default", "meaning")
    rows = [_field(field) for field in FIELDS[kind].values()]
    text = f"{_says(kind)} Its results are in `{kind.key}`."
    if kind.from_std_type:
        needed = ", ".join(f"`{name}`" for name in kind.from_std_type)
        instead = " and ".join(f"`{name}`" for name in kind.instead)
        without = f"`std_type` or {instead}" if instead else "`std_type`"
        text += f" Without {without}, these are needed: {needed}."
    return Section(kind.typ, text, Table(header, rows))


def kinds() -> Table:
    """One row per kind of element, for the README."""
    return Table(
        ("`typ`", "what it is", "results in"),
        [(f"`{kind.typ}`", _says(kind), f"`{kind.key}`") for kind in KINDS],
    )


def _says(kind: type[Element]) -> str:
    return inspect.cleandoc(kind.__doc__ or "").replace("\n", " ")


def _values(field: Field) -> str:
    """What a field takes: its range, its choices, or what it refers to."""
    if field.refers_to:
        return f"id of a {' or '.join(field.refers_to)}"
    if field.type == "choice":
        return ", ".join(f"`{_spelled(choice)}`" for choice in field.choices)
    bounds = (f"{_SIGNS[bound]} {limit:g}" for bound, limit in field.bounds.items())
    return ", ".join([_TYPES[field.type], *bounds])


_TYPES = {
    "number": "number",
    "integer": "whole number",
    "flag": "`true`, `false`",
    "word": "text",
    "curve": "list of points `[x, y]`",
    "pieces": "list of pieces `[from, to, slope]`",
    "triangle": "lower triangle `[[aa], [ba, bb], …]`",
    "structure": "list or object",
    "nothing": "absent or `false`",
}

_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def _field(field: Field) -> tuple[str, ...]:
    return (f"`{field.name}`", field.unit or "", _values(field), _default(field), field.meaning)


def _default(field: Field) -> str:
    if field.required:
        return "required"
    return "–" if field.default is None else f"`{_spelled(field.default)}`"


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


# -- results ---------------------------------------------------------------------------------------


def _results() -> Page:
    return Page(
        "results",
        "Results",
        "`results` has one list per kind, with a record per element in the request's order. Every "
        "record has `id` and `name`; the other columns are pandapower's, with the same units and "
        "signs on both engines. `null` means: out of service, without supply, or without meaning.",
        [*(_columns(kind) for kind in KINDS), _prices(), _faults(), _distortion()],
    )


def _columns(kind: type[Element]) -> Section:
    header = ("column", "unit", "balanced", "unbalanced", "meaning")
    rows = []
    for column in dict.fromkeys(c for tables in MODELS.values() for c in tables.get(kind, ())):
        meanings = {
            model: meaning_of(kind, column, model)
            for model, tables in MODELS.items()
            if column in tables.get(kind, ())
        }
        marks = ["✓" if model in meanings else "" for model in MODELS]
        meaning = "; ".join(dict.fromkeys(meanings.values()))
        rows.append((f"`{column}`", unit_of(column), *marks, meaning))
    return Section(kind.typ, f"In `{kind.key}`.", Table(header, rows))


def _prices() -> Section:
    rows: list[tuple[str, ...]] = [
        (kind.typ, f"`{column}`", meaning)
        for kind, columns in opf.COLUMNS.items()
        for column, meaning in columns.items()
    ]
    text = "Prices and multipliers; `null` where nothing has a cost, or where the study has none."
    return Section("Beside them in optimal power flow", text, Table(_PRICES, rows))


_PRICES = ("kind", "column", "meaning")


def _faults() -> Section:
    rows: list[tuple[str, ...]] = [
        (kind.typ, f"`{column}`", meaning)
        for kind, columns in shortcircuit.COLUMNS.items()
        for column, meaning in columns.items()
    ]
    own = shortcircuit.COLUMNS[Bus]
    rows += [
        (Bus.typ, f"`{column}`", f"OpenDSS: {meaning}")
        for column, meaning in shortcircuit.PHASE_COLUMNS.items()
        if own.get(column) != meaning
    ]
    text = "A short circuit has these and no others; at a bus where no fault was asked for `null`."
    return Section("In place of them in short circuit", text, Table(_PRICES, rows))


def _distortion() -> Section:
    rows: list[tuple[str, ...]] = [
        (kind.typ, f"`{column}`", meaning)
        for kind, columns in harmonics.COLUMNS.items()
        for column, meaning in columns.items()
    ]
    text = (
        "Total harmonic distortion: √(Σ h²) over all orders, of the fundamental. The orders "
        "themselves stand in `harmonics`, in columns: per quantity one list per order."
    )
    return Section("Beside them in harmonic analysis", text, Table(_PRICES, rows))


# -- engines ---------------------------------------------------------------------------------------


def _engines(engines: Engines) -> Page:
    sections = [
        Section(f"{model.capitalize()} models", _MODEL_TEXTS[model], _support(engines, model))
        for model in MODELS
    ]
    return Page(
        "engines",
        "What each engine can represent",
        "`derived`: the parameters are the engine's own. `translated`: a function of ours says "
        "them in the engine's words. `–`: not represented; a request that has one is refused, and "
        "every such element named.",
        sections,
    )


_MODEL_TEXTS: Mapping[str, str] = {
    "balanced": "One phase stands for three alike: `mode` `ac` and `dc`.",
    "unbalanced": "Three phases, each with its own state: `mode` `unbalanced`.",
}


def _support(engines: Engines, model: str) -> Table:
    header = ("kind", *(engine.name for engine in engines), "notes")
    rows = []
    for kind in KINDS:
        support = {engine.name: engine.support[model][kind] for engine in engines}
        states = ("–" if s.state == "unsupported" else s.state for s in support.values())
        notes = (f"{name}: {s.note}" for name, s in support.items() if s.note)
        rows.append((kind.typ, *states, " ".join(notes)))
    return Table(header, rows)


# -- feeder ----------------------------------------------------------------------------------------


def _feeder() -> Page:
    parts = feeder.parts()
    sections = [Section(p.title, p.text, Table(p.header, p.rows)) for p in parts]
    return Page("feeder", feeder.TITLE, feeder.TEXT, sections)


# -- errors ----------------------------------------------------------------------------------------


def _errors() -> Page:
    return Page(
        "errors",
        "Errors",
        "Every error is `application/problem+json` (RFC 9457): `type`, `title`, `status`, "
        "`detail`, then `success` false, `error` (the sentence of `detail`) and `errors`, a list "
        "of every fault that was found. A fault has `kind` (a stable word for programs) and "
        "`message` (a sentence for people); where they apply, `element` (the caller's id), `name` "
        "and `field`.",
        [
            Section(
                "Kinds of errors",
                "What `type` ends with.",
                Table(
                    ("kind", "status", "title", "when"),
                    [
                        (f"`{kind}`", str(error.status), error.title, error.when)
                        for kind, error in ERRORS.items()
                    ],
                ),
            ),
            Section(
                "Kinds of faults",
                "The `kind` of each of `errors`.",
                Table(
                    ("kind", "meaning"), [(f"`{kind}`", says) for kind, says in PROBLEMS.items()]
                ),
            ),
        ],
    )


# -- diagnosis -------------------------------------------------------------------------------------


def _diagnosis() -> Page:
    return Page(
        "diagnosis",
        "Why there is no solution",
        "A network that has none is answered with `not-converged` and `diagnosis`, a list of "
        "causes, the likeliest first. Each has `rule` (a word of the table), `cause` (a "
        "sentence), `elements` (the caller's ids), `evidence` (numbers), `suggestion` (a sentence) "
        "and `repair`: a list of `element`, `field`, `value`, to be set together; where `element` "
        "is null the field is a setting. `verified` says what trying the repair showed: true, the "
        "network then has a certified solution; false, it has none; null, it was not tried. "
        "Causes whose repair works come first, of these the simplest whose number was "
        "furthest off. What is found out takes a few seconds at most.",
        [
            Section(
                "Causes",
                "What is looked for, what speaks for it, and what is tried.",
                Table(
                    ("rule", "cause", "evidence", "repair"),
                    [
                        (f"`{name}`", rule.meaning, rule.evidence, rule.repair)
                        for name, rule in RULES.items()
                    ],
                ),
            ),
            Section("How", inspect.cleandoc(_HOW)),
        ],
    )


_HOW = """
Numbers are compared with those of the other elements of the kind at the voltage level, or with what
is usual there; voltage levels, taps, set-points and the sums of phase shifts around loops are
checked against each other. Then the network is loaded from nothing up to the last point at which
its own equations have a solution; there the singular vectors of the Jacobian say which buses
collapse and which powers drive it, and the voltages along the branches where it is narrow. Every
repair is first tried on these equations, the likeliest then by the engine, with the certificate.
"""


# -- Markdown --------------------------------------------------------------------------------------

NOTE = "<!-- Written by script/docs; what it says comes from the code. -->"


def markdown(page: Page) -> str:
    """A page as a file of docs/."""
    parts = [f"# {page.title}", NOTE, page.text]
    for section in page.sections:
        parts += [f"## {section.title}", section.text]
        if section.table:
            parts.append(markdown_table(section.table))
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    lines = [table.header, tuple("---" for _ in table.header), *table.rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def _with_generated(text: str, parts: Mapping[str, str]) -> str:
    """A text with what stands between its markers renewed."""
    for name, part in parts.items():
        begin, end = f"<!-- {name}: written by script/docs -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"README.md lacks the markers of {name}.")
        text = f"{before}{begin}\n\n{part}\n\n{end}{after}"
    return text


def files(engines: Engines, root: Path, parts: Mapping[str, str]) -> dict[Path, str]:
    """What script/docs writes: path → text.

    parts  parts of the README that need a server to be known
    """
    readme = root / "README.md"
    tables = {"studies": markdown_table(studies()), "elements": markdown_table(kinds())}
    return {
        **{root / f"docs/{page.name}.md": markdown(page) for page in pages(engines)},
        readme: _with_generated(readme.read_text(), {**tables, **parts}),
    }


def json_block(text: str) -> str:
    return f"```json\n{text}\n```"


def spread(value: Any, indent: str = "") -> str:
    """JSON with a record a line and numbers rounded to six decimals."""
    each = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(each, list) or not any(isinstance(part, (dict, list)) for part in each):
        return json.dumps(_rounded(value), ensure_ascii=False)
    inner = indent + "  "
    lines = [spread(part, inner) for part in each]
    if isinstance(value, dict):
        lines = [f"{json.dumps(key)}: {line}" for key, line in zip(value, lines, strict=True)]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    joined = f",\n{inner}".join(lines)
    return f"{opening}\n{inner}{joined}\n{indent}{closing}"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    # The sum makes 0.0 of -0.0.
    return round(value, 6) + 0.0 if isinstance(value, float) else value
