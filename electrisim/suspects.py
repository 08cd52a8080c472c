"""Features of a network on which two solvers may disagree, and the same network without each.

A suspect is tried by solving again on both sides with its feature neutralised: where the difference
is gone, the feature was its cause. Nothing here knows an engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.change import Edits
from electrisim.elements import FIELDS, Element
from electrisim.network import Array, Network
from electrisim.settings import Settings


class Suspect(NamedTuple):
    """A feature that may be the cause of a difference.

    name      in a few words
    without   what neutralises it, in words
    settings  that neutralise it, by name
    edits     of the network that neutralise it: kind → row → field → value
    """

    name: str
    without: str
    settings: Mapping[str, Any] = MappingProxyType({})
    edits: Edits = MappingProxyType({})

    def elements(self, network: Network) -> list[str]:
        """The ids of the elements that have the feature."""
        return [network.rows(kind).ids[row] for kind, rows in self.edits.items() for row in rows]


def suspects(network: Network, settings: Settings, vm_pu: Array) -> list[Suspect]:
    """The features that this request has, those of the settings first.

    vm_pu  the bus voltages of either side that are farthest from 1
    """
    found = [
        Suspect(name, f"with {setting} {_told(neutral)}", settings={setting: neutral})
        for name, setting, neutral in _SETTINGS
        if getattr(settings, setting, neutral) != neutral
    ]
    for name, without, edits in _FEATURES:
        made = {kind: rows for kind, rows in edits(network).items() if rows}
        if made:
            found.append(Suspect(name, without, edits=made))
    beyond = _outside_the_band(network, vm_pu)
    if beyond:
        text = "with these loads as impedances"
        found.append(Suspect("loads outside their voltage band", text, edits={e.Load: beyond}))
    return [*found, *_kinds(network)]


def together(several: list[Suspect]) -> Suspect:
    """All these features at once."""
    edits: dict[type[Element], dict[int, dict[str, Any]]] = {}
    settings: dict[str, Any] = {}
    for one in several:
        settings |= one.settings
        for kind, rows in one.edits.items():
            for row, fields in rows.items():
                edits.setdefault(kind, {}).setdefault(row, {}).update(fields)
    names = " and ".join(one.name for one in several)
    return Suspect(names, "; ".join(one.without for one in several), settings, edits)


def outage(network: Network, id_: str) -> Suspect:
    """One element alone: neutralised, it is out of service or, a switch, open."""
    kind, row = network.ids[id_]
    field = "closed" if kind is e.Switch else "in_service"
    without = f"without {network.rows(kind).label(row)}"
    return Suspect(network.rows(kind).label(row), without, edits={kind: {row: {field: False}}})


def _told(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


#: Settings by which engines may differ: what they are about, and their neutral value.
_SETTINGS = (
    ("the impedance of the external grids", "source_impedance", False),
    ("loads as admittances", "load_model", "powerflow"),
    ("the equivalent circuit of the transformers", "trafo_model", "pi"),
    ("the reactive limits of generators", "enforce_q_lims", False),
    ("line temperatures", "consider_line_temperature", False),
    ("the controls", "run_control", False),
)

Rows = Mapping[int, Mapping[str, Any]]
Editing = Callable[[Network], Mapping[type[Element], Rows]]


def _setting_fields(values: Mapping[type[Element], Mapping[str, Any]]) -> Editing:
    """Fields set to a neutral value on every element that has another one."""

    def edits(network: Network) -> Mapping[type[Element], Rows]:
        return {kind: _differing(network, kind, fields) for kind, fields in values.items()}

    return edits


def _differing(network: Network, kind: type[Element], fields: Mapping[str, Any]) -> Rows:
    rows: dict[int, dict[str, Any]] = {}
    for row, element in enumerate(network.rows(kind).elements):
        # An absent value has no effect, or (a phase shift) the one that another field gives it.
        changes = {
            name: value
            for name, value in fields.items()
            if name in FIELDS[kind] and getattr(element, name) not in (value, None)
        }
        if changes:
            rows[row] = changes
    return rows


def _no_taps(network: Network) -> Mapping[type[Element], Rows]:
    found: dict[type[Element], Rows] = {}
    for kind in (e.Transformer, e.ThreeWindingTransformer):
        rows: dict[int, dict[str, Any]] = {}
        for row, unit in enumerate(network.rows(kind).elements):
            for tap in ("tap", "tap2"):
                position = getattr(unit, f"{tap}_pos", None)
                neutral = getattr(unit, f"{tap}_neutral", None) or 0.0
                if position is not None and position != neutral:
                    rows.setdefault(row, {})[f"{tap}_pos"] = neutral
        found[kind] = rows
    return found


def _no_shifts(network: Network) -> Mapping[type[Element], Rows]:
    """Neither by a shift of its own nor by the clock number of its vector group."""
    fields: dict[type[Element], tuple[str, ...]] = {
        e.Transformer: ("shift_degree",),
        e.ThreeWindingTransformer: ("shift_mv_degree", "shift_lv_degree"),
    }
    return {
        kind: {
            row: dict.fromkeys(names, 0.0)
            for row, unit in enumerate(network.rows(kind).elements)
            if unit.vector_group is not None or any(getattr(unit, name) for name in names)
        }
        for kind, names in fields.items()
    }


_PLATE = {"pfe_kw": 0.0, "i0_percent": 0.0}
_SHARES = {f"const_{of}_{part}_percent": 0.0 for of in "zi" for part in "pq"}

_FEATURES: tuple[tuple[str, str, Editing], ...] = (
    (
        "iron losses and magnetising currents",
        "with pfe_kw and i0_percent 0",
        _setting_fields({e.Transformer: _PLATE, e.ThreeWindingTransformer: _PLATE}),
    ),
    ("tap positions", "with every tap changer at neutral", _no_taps),
    ("phase shifts", "with every phase shift 0", _no_shifts),
    (
        "the capacitance of the lines",
        "with c_nf_per_km 0",
        _setting_fields({e.Line: {"c_nf_per_km": 0.0, "c0_nf_per_km": 0.0}}),
    ),
    (
        "the leakage of the lines",
        "with g_us_per_km 0",
        _setting_fields({e.Line: {"g_us_per_km": 0.0, "g0_us_per_km": 0.0}}),
    ),
    (
        "loads that follow the voltage",
        "with all loads of constant power",
        _setting_fields({e.Load: _SHARES}),
    ),
)

#: Outside these, OpenDSS' own loads become impedances (vminpu, vmaxpu) [pu].
BAND_PU = (0.95, 1.05)


def _outside_the_band(network: Network, vm_pu: Array) -> Rows:
    loads = network.rows(e.Load)
    if not len(loads):
        return {}
    vm = vm_pu[loads.at["bus"]]
    low, high = BAND_PU
    impedance = {"const_z_p_percent": 100.0, "const_z_q_percent": 100.0} | {
        "const_i_p_percent": 0.0, "const_i_q_percent": 0.0,
    }  # fmt: skip
    return {int(row): impedance for row in np.flatnonzero((vm < low) | (vm > high))}


#: Kinds that a network can do without, each modelled in a way of its own by every engine.
_DISPENSABLE = (
    e.Motor, e.Ward, e.ExtendedWard, e.Storage, e.PVSystem, e.SVC, e.SSC, e.TCSC, e.Impedance,
    e.DCLine, e.VSC, e.B2BVSC, e.BipolarVSC, e.AsymmetricLoad, e.AsymmetricStaticGenerator,
    e.ShuntReactor, e.Capacitor, e.Shunt, e.ThreeWindingTransformer,
)  # fmt: skip


def _kinds(network: Network) -> Iterator[Suspect]:
    for kind in _DISPENSABLE:
        rows = network.rows(kind)
        serving = {
            row: {"in_service": False} for row, x in enumerate(rows.elements) if x.in_service
        }
        if serving:
            name = f"the model of {kind.typ}"
            yield Suspect(name, f"without any {kind.typ}", edits={kind: serving})
