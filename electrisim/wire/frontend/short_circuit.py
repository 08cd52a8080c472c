"""Short circuit in the browser's spelling.

Its dialogs write 0 for what nobody set, and have no fields for the zero sequence of the smallest
case. Where a study needs such a number, a substitute stands for it, and a warning says which and
for whom. Nothing stands for a line's zero sequence: its lack refuses a fault to earth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import numpy as np

from electrisim import elements as e
from electrisim import sources
from electrisim.elements import Element
from electrisim.engine import Engines
from electrisim.fields import read
from electrisim.network import Array, Network, Rows
from electrisim.problems import shorten
from electrisim.results import Answer
from electrisim.studies import shortcircuit
from electrisim.studies.shortcircuit import ShortCircuit
from electrisim.wire.frontend.report import Report
from electrisim.wire.frontend.study import Body, Parameters, Request, Spoken
from electrisim.wire.frontend.tables import FAULT_STUDY, SHORT_CIRCUIT
from electrisim.wire.frontend.writing import write_lists

#: Parameter of the dialog → setting. `fault_location` is the case, `fault_impedance` the tolerance.
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "fault_type": "fault",
        "fault_location": "case",
        "fault_impedance": "lv_tol_percent",
        **{word: word for word in ("topology", "tk_s", "r_fault_ohm", "x_fault_ohm", "inverse_y")},
    }
)
_OF_THE_BROWSER = frozenset({"typ", "user_email", "exportPandapowerResults"})
_OF_SOURCES = (
    "s_sc_max_mva", "s_sc_min_mva", "rx_max", "rx_min", "r0x0_max", "x0x_max", "vn_kv", "xdss_pu",
    "rdss_ohm", "cos_phi", "pg_percent", "k", "kappa", "lrc_pu", "max_ik_ka", "rx",
    "generator_type", "current_source", "cos_phi_n", "efficiency_n_percent",
)  # fmt: skip
_OF_BRANCHES = (
    "r0_ohm_per_km", "x0_ohm_per_km", "c0_nf_per_km", "endtemp_degree", "vk0_percent",
    "vkr0_percent", "mag0_percent", "si0_hv_partial",
    *(f"{part}0_{side}_percent" for part in ("vk", "vkr") for side in ("hv", "mv", "lv")),
)  # fmt: skip
#: Fields beyond power flow that the study reads.
_FIELDS = frozenset({*_OF_SOURCES, *_OF_BRANCHES})


def _read(parameters: Parameters, report: Report) -> ShortCircuit | None:
    report.beyond = _FIELDS
    values: Body = {}
    for word, value in parameters.items():
        if word in _WORDS:
            values[_WORDS[word]] = value.strip().lower() if isinstance(value, str) else value
        elif word not in _OF_THE_BROWSER:
            report.note("", "", f"The parameter “{shorten(word)}” is unknown and was ignored")
    settings, problems = read(ShortCircuit, values, "The short circuit study", "setting")
    report.problems += problems
    return settings


def _read_opendss(parameters: Parameters, report: Report) -> ShortCircuit | None:
    report.beyond = _FIELDS
    values: Body = {"solver": "opendss"}
    for word, value in parameters.items():
        if word in ("frequency", "fault"):
            values[word] = value.strip().lower() if isinstance(value, str) else value
        elif word not in (*_OF_THE_BROWSER, "exportOpenDSSResults"):
            report.note("", "", f"The parameter “{shorten(word)}” is unknown and was ignored")
    settings, problems = read(ShortCircuit, values, "The short circuit study", "setting")
    report.problems += problems
    return settings


def _run(network: Network, settings: ShortCircuit, engines: Engines) -> Answer:
    completed = _Completed(network, settings)
    found = shortcircuit.run(completed.network, settings, engines)
    return msgspec.structs.replace(found, warnings=(*found.warnings, *completed.warnings))


# -- substitutes for what the browser does not say -------------------------------------------------


class _Substitute(NamedTuple):
    """What stands for a field that is not given.

    field   the catalogue's
    value   (network, rows, row) → the number; None where nothing can stand for it
    told    what a sentence calls the substitute
    when    (settings, element) → whether the study needs the field
    """

    field: str
    value: Callable[[Network, Rows, int], float | None]
    told: str
    when: Callable[[ShortCircuit, Any], bool] = lambda settings, element: True


def _number(value: float) -> Callable[[Network, Rows, int], float | None]:
    return lambda network, rows, row: value


def _other(field: str) -> Callable[[Network, Rows, int], float | None]:
    def value(network: Network, rows: Rows, row: int) -> float | None:
        found = getattr(rows.elements[row], field)
        return None if found is None else float(found)

    return value


def _of_bus(network: Network, rows: Rows, row: int) -> float:
    return float(network.rows(e.Bus).column("vn_kv")[rows.at["bus"][row]])


def _rating_mva(network: Network, rows: Rows, row: int) -> float | None:
    """A generator whose rating is unknown, at its active power and the usual power factor."""
    generator = rows.elements[row]
    return abs(generator.p_mw) / (generator.cos_phi or _COS_PHI) or None


def _least(settings: ShortCircuit, element: Any) -> bool:
    return settings.case == "min"


def _earth(settings: ShortCircuit, element: Any) -> bool:
    return settings.earthed


def _standard(settings: ShortCircuit, element: Any) -> bool:
    return settings.solver == "pandapower"


def _least_earth(settings: ShortCircuit, element: Any) -> bool:
    return _least(settings, element) and _earth(settings, element)


def _group_needs(field: str) -> Callable[[ShortCircuit, Any], bool]:
    """For a fault to earth, where the transformer's vector group lets its zero sequence matter."""

    def needed(settings: ShortCircuit, element: Any) -> bool:
        return _earth(settings, element) and field in shortcircuit.zero_sequence_fields(element)

    return needed


def _is(sort: str) -> Callable[[ShortCircuit, Any], bool]:
    def needed(settings: ShortCircuit, element: Any) -> bool:
        return settings.case == "max" and sources.sort_of(element) == sort

    return needed


_COS_PHI = 0.85
#: Kind → its substitutes, in the order in which they are made.
_SUBSTITUTES: Mapping[type[Element], tuple[_Substitute, ...]] = MappingProxyType({
    e.ExternalGrid: (
        _Substitute("s_sc_max_mva", _number(1e6), "1,000,000 MVA"),
        _Substitute("rx_max", _number(0.1), "0.1"),
        _Substitute("x0x_max", _number(1.0), "1", _earth),
        _Substitute("r0x0_max", _other("rx_max"), "rx_max", _earth),
        _Substitute("s_sc_min_mva", _other("s_sc_max_mva"), "s_sc_max_mva", _least),
        _Substitute("rx_min", _other("rx_max"), "rx_max", _least),
        _Substitute("x0x_min", _other("x0x_max"), "x0x_max", _least_earth),
        _Substitute("r0x0_min", _other("r0x0_max"), "r0x0_max", _least_earth),
    ),
    e.Generator: (
        _Substitute("vn_kv", _of_bus, "that of its bus"),
        _Substitute("sn_mva", _rating_mva, "p_mw by cos_phi"),
        _Substitute("xdss_pu", _number(0.2), "0.2"),
        _Substitute("rdss_ohm", _number(0.0), "0"),
        _Substitute("cos_phi", _number(_COS_PHI), f"{_COS_PHI:g}", _standard),
    ),
    e.StaticGenerator: (
        _Substitute("k", _number(1.1), "1.1", _is("current_source")),
        _Substitute("rx", _number(0.1), "0.1", _is("async")),
    ),
    e.Motor: (
        _Substitute("vn_kv", _of_bus, "that of its bus"),
        _Substitute("cos_phi_n", _other("cos_phi"), "cos_phi"),
        _Substitute("efficiency_n_percent", _other("efficiency_percent"), "efficiency_percent"),
    ),
    e.Line: (_Substitute("endtemp_degree", _number(80.0), "80 °C", _least),),
    e.Transformer: (
        _Substitute("vk0_percent", _other("vk_percent"), "vk_percent", _group_needs("vk0_percent")),
        _Substitute(
            "vkr0_percent", _other("vkr_percent"), "vkr_percent", _group_needs("vkr0_percent")
        ),
        _Substitute("mag0_percent", _number(100.0), "100", _group_needs("mag0_percent")),
        _Substitute("mag0_rx", _number(0.0), "0", _group_needs("mag0_rx")),
        _Substitute("si0_hv_partial", _number(0.9), "0.9", _group_needs("si0_hv_partial")),
    ),
    e.ThreeWindingTransformer: tuple(
        _Substitute(f"{part}0_{side}_percent", _other(f"{part}_{side}_percent"),
                    f"{part}_{side}_percent", _earth)
        for part in ("vk", "vkr") for side in ("hv", "mv", "lv")
    ),
})  # fmt: skip


class _Completed:
    """The network with substitutes, and a warning per substitute that names whom it stands for."""

    def __init__(self, network: Network, settings: ShortCircuit) -> None:
        self.network = network
        self._told: dict[tuple[str, str, str], list[str]] = {}
        self._contradictory: list[str] = []
        self._unknown_machines(settings)
        for kind, substitutes in _SUBSTITUTES.items():
            for substitute in substitutes:
                self._complete(kind, substitute, settings)

    def _complete(
        self, kind: type[Element], substitute: _Substitute, settings: ShortCircuit
    ) -> None:
        rows = self.network.rows(kind)
        edits: dict[int, dict[str, float]] = {}
        for row, element in enumerate(rows.elements):
            absent = getattr(element, substitute.field) is None and element.in_service
            if absent and substitute.when(settings, element):
                value = substitute.value(self.network, rows, row)
                if value is not None:
                    edits[row] = {substitute.field: value}
                    told = (kind.typ, substitute.field, substitute.told)
                    self._told.setdefault(told, []).append(_label(rows, row))
        if edits:
            self.network = self.network.changed({kind: edits})

    def _unknown_machines(self, settings: ShortCircuit) -> None:
        """An asynchronous machine without a locked-rotor current is the palette's default.

        Nothing is known of it; with a k it is the converter that its current_source says.
        """
        rows = self.network.rows(e.StaticGenerator)
        edits: dict[int, dict[str, Any]] = {}
        for row, element in enumerate(rows.elements):
            if element.generator_type == "async" and element.lrc_pu is not None:
                if element.current_source:
                    self._contradictory.append(_label(rows, row))
            elif element.generator_type == "async":
                converter = element.current_source and element.k is not None
                edits[row] = {
                    "generator_type": "current_source" if converter else None,
                    "current_source": converter,
                }
        if edits:
            self.network = self.network.changed({e.StaticGenerator: edits})

    @property
    def warnings(self) -> Iterator[str]:
        for (typ, field, substitute), labels in self._told.items():
            named = ", ".join(f"“{label}”" for label in labels)
            yield f"{typ} {named}: {field} is not given; {substitute} was taken."
        if self._contradictory:
            named = ", ".join(f"“{label}”" for label in self._contradictory)
            yield (
                f"Static Generator {named}: both async and a current_source; it was taken for an "
                "asynchronous machine alone."
            )


def _label(rows: Rows, row: int) -> str:
    return shorten(rows.names[row] or rows.ids[row])


# -- the answer ------------------------------------------------------------------------------------


def _write(request: Request, found: Answer) -> tuple[Body, list[str]]:
    network = request.network

    def echo(kind: type[Element], id_: str) -> Body:
        return request.echoes[id_]._asdict()

    tables: dict[type[Element], Mapping[str, Array]] = dict(found.tables)
    tables[e.ExternalGrid] = _at_grids(network, found)
    return write_lists(network, tables, SHORT_CIRCUIT, echo)


def _at_grids(network: Network, found: Answer) -> dict[str, Array]:
    """What a fault at the bus of each grid in service is: the client lists it under the grid."""
    rows, buses = network.rows(e.ExternalGrid), found.tables[e.Bus]
    if not len(rows):
        return {}
    serves = rows.column("in_service")
    return {
        name: np.where(serves, values[rows.at["bus"]], np.nan) for name, values in buses.items()
    }


def _write_opendss(request: Request, found: Answer) -> tuple[Body, list[str]]:
    def echo(kind: type[Element], id_: str) -> Body:
        return request.echoes[id_]._asdict()

    return write_lists(request.network, found.tables, FAULT_STUDY, echo)


ON_PANDAPOWER = Spoken(_read, _run, _write)
ON_OPENDSS = Spoken(_read_opendss, _run, _write_opendss)
