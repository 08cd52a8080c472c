"""From the browser's flat entries to a network.

Three things can happen to what is odd, and all are told. What the user could not have typed (no
terminal, a reference to nothing, a value that this dialect does not send) leaves the element out.
What the user typed and the element cannot do without, or what has no meaning, refuses the study.
Any other value that cannot be read counts as not given.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from electrisim import elements as e
from electrisim.elements import FIELDS, Element
from electrisim.fields import ABSENT, Field, present, read
from electrisim.network import Entry
from electrisim.phasing import ZERO_OF_LINES
from electrisim.problems import nearest, shorten
from electrisim.wire.frontend.conversions import flag, number
from electrisim.wire.frontend.report import About, Report
from electrisim.wire.frontend.tables import SPELLINGS, Spelling, Values, spelling_of, words_of

#: What identifies an entry and is no field of its element.
IDENTITY = frozenset({"typ", "name", "id", "userFriendlyName"})


class Item(NamedTuple):
    """An entry of the body whose kind is known."""

    entry: Mapping[str, Any]
    spelling: Spelling
    kind: type[Element]
    about: About


class Echo(NamedTuple):
    """What identifies an element in the request, to be sent back as it came."""

    id: Any
    name: Any


def read_elements(
    entries: Mapping[str, Any], report: Report
) -> tuple[list[Entry], Mapping[str, Echo]]:
    """The elements of a body (without its parameter entry) for a network, and their echoes by id.

    Raises nothing: what refuses the study stands in `report.problems`.
    """
    items = list(_items(entries, report))
    _unique_buses(items)
    index = _Index(items)
    if any("phase" in item.spelling.beyond for item in items):
        # With elements of one phase beside them, lines of three need their zero sequence.
        report.beyond |= frozenset(ZERO_OF_LINES)
    found: list[Entry] = []
    kept: set[str] = set()
    # Switches come last: what they switch must have been kept.
    for item in sorted(items, key=lambda item: item.kind is e.Switch):
        element = _element(item, index, kept)
        if element is not None:
            kept.add(item.about.id)
            found.append(Entry(item.about.id, item.about.label, element))
    echoes = {item.about.id: Echo(item.entry.get("id"), item.entry.get("name")) for item in items}
    return found, echoes


# -- what is in the body ---------------------------------------------------------------------------


def _items(entries: Mapping[str, Any], report: Report) -> Iterator[Item]:
    names = Counter(entry.get("name") for entry in entries.values() if _hashable(entry))
    labels = Counter(
        entry.get("userFriendlyName") for entry in entries.values() if _hashable(entry)
    )
    for key, entry in entries.items():
        if not isinstance(entry, dict):
            About(report, "Entry", key, shorten(key)).problem("not-an-object", "is no object")
            continue
        name, label = entry.get("name"), entry.get("userFriendlyName")
        own = isinstance(name, str) and name.strip() and names[name] == 1 and name not in entries
        id_ = name if isinstance(name, str) and own else key
        told = shorten(id_)
        if isinstance(label, str) and label.strip():
            told = shorten(label.strip()) + (f" ({told})" if labels[label] > 1 else "")
        typ = entry.get("typ")
        spelled = spelling_of(typ) if isinstance(typ, str) else None
        if spelled is None:
            hint = nearest(typ, SPELLINGS) if isinstance(typ, str) else ""
            About(report, "Element", id_, told).problem(
                "unknown-typ", f"has the unknown typ “{shorten(typ)}”", "typ", hint
            )
            continue
        word, spelling = spelled
        about = About(report, word, id_, told)
        if spelling.kind is None:
            about.problem("unsupported", spelling.refusal)
            continue
        report.words[id_] = words_of(word)
        yield Item(entry, spelling, spelling.kind, about)


def _hashable(entry: Any) -> bool:
    return isinstance(entry, dict) and not any(
        isinstance(entry.get(field), (dict, list)) for field in ("name", "userFriendlyName")
    )


def _unique_buses(items: Iterable[Item]) -> None:
    buses = [item for item in items if item.kind is e.Bus]
    names = Counter(str(item.entry.get("name")) for item in buses)
    for item in buses:
        if names[str(item.entry.get("name"))] > 1:
            item.about.problem(
                "duplicate-name",
                f"has the name “{shorten(item.entry.get('name'))}” of another bus",
                "name",
            )


class _Index:
    """Finds what a reference means: an internal name, a cell id, or a label that only one bears."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._by: list[dict[str, list[Item]]] = [{}, {}, {}]
        for item in items:
            for found, field in zip(self._by, ("name", "id", "userFriendlyName"), strict=True):
                value = item.entry.get(field)
                if isinstance(value, str) and value:
                    found.setdefault(value, []).append(item)

    def find(self, reference: Any, kinds: Iterable[type[Element]]) -> Item | None:
        wanted = tuple(kinds)
        for by in self._by:
            found = [item for item in by.get(str(reference), ()) if item.kind in wanted]
            if len(found) == 1:
                return found[0]
        return None


# -- one element -----------------------------------------------------------------------------------


def _element(item: Item, index: _Index, kept: set[str]) -> Element | None:
    """The element of an entry; None where it is left out or refuses the study."""
    values = _read_fields(item)
    targets = _targets(item, index, kept)
    if targets is None:
        return None
    if values.get("spectrum") != "custom":
        # The dialog keeps the text of a spectrum that is not chosen any more.
        values.pop("spectrum_csv", None)
    if item.spelling.convert:
        item.spelling.convert(values, item.entry, item.about)
    values.update(item.about.report.given.get(str(item.entry.get("id")), {}))
    if isinstance(values.get("reference"), str):
        line = index.find(values["reference"], (e.Line,))
        values["reference"] = line.about.id if line else values["reference"]
    if item.kind is e.Switch:
        _say_what_is_switched(item, values, targets["element"])
    instead = item.kind.instead
    replaced = item.kind.from_std_type if instead and values.keys() >= {*instead} else ()
    unsent = [
        name
        for name in _essential(item.spelling)
        if name not in replaced and not _sent(item, values, name)
    ]
    if unsent and item.kind is not e.Bus:
        item.about.note(f"left out, because the request does not say its {', '.join(unsent)}")
        return None
    references = {name: target.about.id for name, target in targets.items()}
    element, problems = read(item.kind, {**values, **references}, item.about.told)
    item.about.report.problems += [
        msgspec.structs.replace(problem, element=item.about.id, name=item.about.label)
        for problem in problems
    ]
    return element


@functools.cache
def _by_spelling(kind: type[Element], needs: frozenset[str]) -> tuple[str, ...]:
    return tuple(
        name
        for name, field in FIELDS[kind].items()
        if field.type != "reference"
        and (field.required or name in kind.from_std_type or name in needs)
    )


def _essential(spelling: Spelling) -> tuple[str, ...]:
    """The catalogue's fields without which the browser has not described an element."""
    return _by_spelling(spelling.kind, spelling.needs) if spelling.kind else ()


def _sent(item: Item, values: Values, name: str) -> bool:
    """Whether a field was given, be it as an empty text: null is what the browser does not know."""
    words = [word for word, field in item.spelling.fields.items() if field == name]
    return name in values or any(item.entry.get(word) is not None for word in words)


def _read_fields(item: Item) -> Values:
    """The fields of an entry that concern the study, under their catalogue names."""
    spelling, about = item.spelling, item.about
    known = {word for words in spelling.terminals.values() for word in words} | spelling.beyond
    essential = _essential(spelling)
    values: Values = {}
    for word, value in item.entry.items():
        name = spelling.fields.get(word)
        if word in about.report.beyond and word in spelling.beyond and word in FIELDS[item.kind]:
            name = None if _is_default(item, word) else word
        elif name is None and word in spelling.beyond:
            name = about.report.more.get(word)
            name = name if name in FIELDS[item.kind] else None
        if name is None:
            if word not in known and word not in IDENTITY:
                about.note(f"the field “{shorten(word)}” is unknown and was ignored")
            continue
        value = _given(value)
        unset = word in spelling.unset or word in about.report.unset
        if value is ABSENT or (unset and number(value) == 0):
            continue
        field = FIELDS[item.kind][name]
        value, fault = _understood(value, field)
        if fault and name not in essential:
            about.ignored(word, value, fault)
        else:
            values[name] = value
    return values


#: Limits that a dialog leaves at 0 together.
_PAIRS = (("min_p_mw", "max_p_mw"), ("min_q_mvar", "max_q_mvar"))


def _is_default(item: Item, word: str) -> bool:
    """Whether a limit is only what the dialog writes where nobody set one."""
    entry = item.entry
    if word == "controllable":
        return item.kind is e.ExternalGrid and flag(entry.get(word)) is False
    if word == "max_loading_percent":
        return number(entry.get(word)) == 0
    return any(word in pair and all(number(entry.get(w)) == 0 for w in pair) for pair in _PAIRS)


def _given(value: Any) -> Any:
    """The value, or ABSENT for null and the words that stand for it."""
    value = present(value)
    return ABSENT if isinstance(value, str) and value.lower() == "nan" else value


def _understood(value: Any, field: Field) -> tuple[Any, str]:
    """(the value as its field writes it, "") or (the value, why it cannot be read)."""
    if field.type in ("number", "integer"):
        return value, "" if number(value) is not None else "is not a number"
    if field.type == "flag":
        return value, "" if flag(value) is not None else "is neither true nor false"
    if field.type == "choice" and field.name != "et":
        words = {str(choice).lower(): choice for choice in field.choices}
        found = words.get(str(value).lower())
        return (value, f"is not {' or '.join(words)}") if found is None else (found, "")
    return (str(value), "") if isinstance(value, (int, float)) else (value, "")


# -- terminals -------------------------------------------------------------------------------------


def _targets(item: Item, index: _Index, kept: set[str]) -> dict[str, Item] | None:
    """What an element is connected to, by reference; None, which is noted, where it is nothing."""
    found: dict[str, Item] = {}
    for name, words in item.spelling.terminals.items():
        reference = _reference(item.entry, words)
        if reference is ABSENT:
            item.about.note(
                f"left out, because the request does not say where it is connected ({words[0]})"
            )
            return None
        target = index.find(reference, _WANTED.get(name, (e.Bus,)))
        if target is None or (target.kind is not e.Bus and target.about.id not in kept):
            item.about.note(
                f"left out, because its {words[0]} “{shorten(reference)}” is nothing in the "
                "request to which it could be connected"
            )
            return None
        found[name] = target
    return found


_SWITCHED: Mapping[type[Element], str] = {
    e.Bus: "b",
    e.Line: "l",
    e.Transformer: "t",
    e.ThreeWindingTransformer: "t3",
}
_WANTED: Mapping[str, Iterable[type[Element]]] = {"element": _SWITCHED, "bus_dc": (e.DCBus,)}


def _reference(entry: Mapping[str, Any], words: tuple[str, ...]) -> Any:
    """What the first of these words that is given says; an object says it under the first word."""
    for word in words:
        value = entry.get(word)
        value = _given(value.get(words[0])) if isinstance(value, dict) else _given(value)
        if value is not ABSENT:
            return value
    return ABSENT


def _say_what_is_switched(item: Item, values: Values, target: Item) -> None:
    """What a switch's element is decides over what its `et` says."""
    letter = _SWITCHED[target.kind]
    if values.get("et", letter) != letter:
        item.about.ignored("et", values["et"], f"contradicts its element, {target.about.told}")
    values["et"] = letter
