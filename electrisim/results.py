"""Result columns: which quantities each kind has, their units, signs and meaning.

Names, units and signs are pandapower's, on both engines: consumers positive, generation positive in
the tables of generators, branch powers positive into the branch. Missing is NaN, in JSON `null`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.network import Array, Network

_PQ = ("p_mw", "q_mvar")
_FROM_TO = ("p_from_mw", "q_from_mvar", "p_to_mw", "q_to_mvar")
_ENDS = ("vm_from_pu", "va_from_degree", "vm_to_pu", "va_to_degree")
_INTERNAL = ("vm_internal_pu", "va_internal_degree", "vm_pu", "va_degree")
_POLES = (
    "p_mw", "q_mvar", "p_dc_mw_p", "p_dc_mw_m", "vm_internal_pu", "va_internal_degree",
    "vm_pu", "va_degree", "vm_internal_dc_pu_p", "vm_internal_dc_pu_m", "vm_dc_pu_p", "vm_dc_pu_m",
)  # fmt: skip

#: Columns of the balanced power flow, in the order of pandapower's result tables.
COLUMNS: Mapping[type[Element], tuple[str, ...]] = MappingProxyType({
    e.Bus: ("vm_pu", "va_degree", "p_mw", "q_mvar"),
    e.ExternalGrid: _PQ,
    e.Generator: (*_PQ, "va_degree", "vm_pu"),
    e.StaticGenerator: _PQ,
    e.AsymmetricStaticGenerator: _PQ,
    e.Load: _PQ,
    e.AsymmetricLoad: _PQ,
    e.Line: (
        *_FROM_TO, "pl_mw", "ql_mvar", "i_from_ka", "i_to_ka", "i_ka", *_ENDS, "loading_percent",
    ),
    e.Transformer: (
        "p_hv_mw", "q_hv_mvar", "p_lv_mw", "q_lv_mvar", "pl_mw", "ql_mvar", "i_hv_ka", "i_lv_ka",
        "vm_hv_pu", "va_hv_degree", "vm_lv_pu", "va_lv_degree", "loading_percent",
    ),
    e.ThreeWindingTransformer: (
        "p_hv_mw", "q_hv_mvar", "p_mv_mw", "q_mv_mvar", "p_lv_mw", "q_lv_mvar",
        "pl_mw", "ql_mvar", "i_hv_ka", "i_mv_ka", "i_lv_ka", "vm_hv_pu", "va_hv_degree",
        "vm_mv_pu", "va_mv_degree",
        "vm_lv_pu", "va_lv_degree", "va_internal_degree", "vm_internal_pu", "loading_percent",
    ),
    e.ShuntReactor: (*_PQ, "vm_pu"),
    e.Capacitor: (*_PQ, "vm_pu"),
    e.Shunt: (*_PQ, "vm_pu"),
    e.Impedance: (*_FROM_TO, "pl_mw", "ql_mvar", "i_from_ka", "i_to_ka"),
    e.Ward: (*_PQ, "vm_pu"),
    e.ExtendedWard: (*_PQ, "vm_pu", "va_internal_degree", "vm_internal_pu"),
    e.Motor: _PQ,
    e.SVC: ("thyristor_firing_angle_degree", "x_ohm", "q_mvar", "vm_pu", "va_degree"),
    e.TCSC: (
        "thyristor_firing_angle_degree", "x_ohm", *_FROM_TO, "pl_mw", "ql_mvar", "i_ka", *_ENDS,
    ),
    e.SSC: ("q_mvar", *_INTERNAL),
    e.Storage: _PQ,
    e.PVSystem: (*_PQ, "vm_pu", "va_degree"),
    e.Switch: ("i_ka", "loading_percent", *_FROM_TO),
    e.DCLine: (*_FROM_TO, "pl_mw", *_ENDS),
    e.DCBus: ("vm_pu", "p_mw"),
    e.LineDC: (
        "p_from_mw", "p_to_mw", "pl_mw", "i_from_ka", "i_to_ka", "i_ka", "vm_from_pu", "vm_to_pu",
        "loading_percent",
    ),
    e.LoadDC: ("p_dc_mw",),
    e.SourceDC: ("p_dc_mw",),
    e.VSC: ("p_mw", "q_mvar", "p_dc_mw", *_INTERNAL, "vm_internal_dc_pu", "vm_dc_pu"),
    e.B2BVSC: _POLES,
    e.BipolarVSC: _POLES,
})  # fmt: skip


def _phases(*patterns: str) -> tuple[str, ...]:
    return tuple(pattern.replace("*", phase) for pattern in patterns for phase in "abc")


def _interleaved(*patterns: str) -> tuple[str, ...]:
    return tuple(pattern.replace("*", phase) for phase in "abc" for pattern in patterns)


_PQ_3PH = _interleaved("p_*_mw", "q_*_mvar")
_V_3PH = _interleaved("vm_*_pu", "va_*_degree")

#: Columns of the unbalanced power flow; `vm_pu`, `va_degree` of a bus are the positive sequence.
COLUMNS_3PH: Mapping[type[Element], tuple[str, ...]] = MappingProxyType({
    e.Bus: ("vm_pu", "va_degree", *_V_3PH, *_PQ_3PH, "unbalance_percent"),
    e.ExternalGrid: _PQ_3PH,
    e.Generator: (*_V_3PH, *_PQ_3PH),
    e.StaticGenerator: _PQ,
    e.AsymmetricStaticGenerator: _PQ_3PH,
    e.Load: _PQ,
    e.AsymmetricLoad: _PQ_3PH,
    **dict.fromkeys((e.ShuntReactor, e.Capacitor, e.Shunt, e.Ward, e.Motor), _PQ),
    e.Storage: _PQ,
    e.PVSystem: _PQ,
    e.Line: (
        *_interleaved("p_*_from_mw", "q_*_from_mvar"), *_interleaved("p_*_to_mw", "q_*_to_mvar"),
        *_interleaved("pl_*_mw", "ql_*_mvar"), *_interleaved("i_*_from_ka", "i_*_to_ka"),
        *_phases("i_*_ka"), "i_n_from_ka", "i_n_to_ka", "i_n_ka",
        *_phases("loading_*_percent"), "loading_percent",
    ),
    e.Transformer: (
        *_interleaved("p_*_hv_mw", "q_*_hv_mvar"), *_interleaved("p_*_lv_mw", "q_*_lv_mvar"),
        *_interleaved("pl_*_mw", "ql_*_mvar"), *_interleaved("i_*_hv_ka", "i_*_lv_ka"),
        *_phases("loading_*_percent"), "loading_percent",
    ),
    e.Switch: (),
})  # fmt: skip

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "pu": "pu",
        "degree": "degree",
        "mw": "MW",
        "mvar": "Mvar",
        "ka": "kA",
        "percent": "%",
        "ohm": "Ω",
    }
)


def unit_of(column: str) -> str:
    """The unit of a result column, which is the last word of its name ("1" where it has none)."""
    last = column.removesuffix("_p").removesuffix("_m").rsplit("_", 1)[-1]
    return UNITS.get(last, "1")


#: What the first word of a column's name stands for.
QUANTITIES: Mapping[str, str] = MappingProxyType(
    {
        "p": "active power",
        "q": "reactive power",
        "i": "current",
        "vm": "voltage magnitude",
        "va": "voltage angle",
        "x": "reactance",
        "loading": "loading, of the rating",
        "unbalance": "negative-sequence voltage, of the positive-sequence one",
        "thyristor": "firing angle of the thyristors",
    }
)

#: What the words between quantity and unit stand for.
PLACES: Mapping[str, str] = MappingProxyType(
    {
        "a": "phase a",
        "b": "phase b",
        "c": "phase c",
        "n": "neutral conductor",
        "from": "from end",
        "to": "to end",
        "hv": "high-voltage side",
        "mv": "medium-voltage side",
        "lv": "low-voltage side",
        "internal": "inner node",
        "dc": "DC side",
    }
)

_POLE = {"_p": "plus pole", "_m": "minus pole"}


def meaning_of(kind: type[Element], column: str, model: str = "balanced") -> str:
    """What a result column of a kind tells, its sign included.

    model  "balanced" or "unbalanced", as the study's settings have it
    """
    pole = _POLE.get(column[-2:], "")
    quantity, *words = column.removesuffix(column[-2:] if pole else "").split("_")
    lost = quantity in ("pl", "ql") or "l" in words
    where = [*(PLACES[word] for word in words if word in PLACES), *([pole] if pole else [])]
    if kind is e.Bus and model == "unbalanced" and column in ("vm_pu", "va_degree"):
        where = ["positive sequence"]
    parts = [QUANTITIES[quantity.removesuffix("l") if lost else quantity], *where]
    if quantity[0] in "pq":
        parts.append("lost in the element" if lost else _sign_of(kind))
    if quantity == "i" and len(kind.ports) > 1 and not {*words} & {*_ENDS_OF_BRANCHES}:
        parts.append("the largest of its ends")
    return ", ".join(parts)


_ENDS_OF_BRANCHES = ("from", "to", "hv", "mv", "lv")


def _sign_of(kind: type[Element]) -> str:
    if kind in (e.Bus, e.DCBus):
        return "drawn by its elements positive: negative where only a source is"
    if len(kind.ports) > 1:
        return "into the element positive"
    return "delivered positive" if kind.ports[0].sign < 0 else "consumed positive"


class Losses(msgspec.Struct, frozen=True):
    """What the branches consume in all."""

    p_mw: float
    q_mvar: float


class Certificate(msgspec.Struct, frozen=True):
    """How far an answer is from a solution, recomputed from its own numbers.

    A mismatch is what is left at a node, or by what a reported number misses what the graph's data
    give at the returned voltages (a current by its MVA at 1 pu); a set-point error is delivered
    against asked. The elements are those with the largest of either.
    """

    max_p_mismatch_mw: float
    max_q_mismatch_mvar: float
    max_setpoint_error_mw: float
    max_setpoint_error_mvar: float
    max_setpoint_element: str | None = None
    max_mismatch_element: str | None = None
    max_voltage_mismatch_pu: float = 0.0
    max_setpoint_error_pu: float = 0.0


class FaultCertificate(msgspec.Struct, frozen=True):
    """What Kirchhoff's first law leaves at the node where it fits worst, of all faults.

    On OpenDSS: by how much a fault that the engine solves as an element differs from its study.
    """

    max_current_mismatch_ka: float
    max_current_mismatch_bus: str | None = None


Tables = Mapping[type[Element], Mapping[str, Array]]


class Solution(msgspec.Struct, frozen=True):
    """What an engine found: result columns of every kind, in the network's row order.

    tables      kind → column → array of shape (n,); NaN where an element has no result
    iterations  of the engine's solver; None where it does not tell
    solver      what solved it, in words
    warnings    what the engine did that a reader of the numbers should know
    """

    tables: Mapping[type[Element], Mapping[str, Array]]
    iterations: int | None
    solver: str
    warnings: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """A study's outcome, in no spelling yet.

    tables    as in `Solution`, masked: elements without supply have no numbers
    beside    what stands beside the tables, by its name in the answer
    series    in place of tables: kind → column → array of shape (n_steps, n_elements)
    streamed  as beside, but so much that it is written piece by piece
    network   the one that the tables are of: where its controllers left it
    """

    tables: Mapping[type[Element], Mapping[str, Array]]
    iterations: int | None
    warnings: tuple[str, ...]
    certificate: Certificate | FaultCertificate | None
    engine: Mapping[str, str]
    beside: Mapping[str, Any]
    series: Mapping[type[Element], Mapping[str, Array]] | None = None
    streamed: Mapping[str, Any] = msgspec.field(default_factory=dict)
    network: Network | None = None
