"""From the catalogue to pandapower's tables: in bulk, and only the columns that power flow reads.

A table is made of blocks, one per kind that stands in it, and of rows that pandapower needs and
nobody asked for. What is dead by our topology is out of service for pandapower, so that it has no
islands to find: its own search lets isolated parts through and then fails on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from electrisim import elements as e
from electrisim.branches import ALPHA_PER_K, REFERENCE_CELSIUS
from electrisim.elements import FIELDS, KINDS, Element
from electrisim.network import Array, Network, Rows, shift_degree, shifts3w_degree
from electrisim.pvsystem import power_mva
from electrisim.settings import Settings
from electrisim.topology import Topology

Columns = dict[str, Array]
Expected = Mapping[str, Mapping[str, str]]


class Block(NamedTuple):
    """Rows of one kind in one of pandapower's tables.

    table    pandapower's
    kind     whose elements they are; None for rows that only pandapower needs
    names    one per row
    columns  column → array, one value per row
    keep     which of the kind's elements they are, shape (n,); None for all, one row each
    order    the elements' numbers, row by row, where they do not stand in order
    """

    table: str
    kind: type[Element] | None
    names: Sequence[str | None]
    columns: Columns
    keep: Array | None = None
    order: Array | None = None


#: The numbers and flags of each kind that power flow reads; references and words come beside.
POWER_FLOW: Mapping[type[Element], tuple[str, ...]] = MappingProxyType({
    e.Bus: ("vn_kv",),
    e.ExternalGrid: ("vm_pu", "va_degree", "slack_weight"),
    e.Generator: (
        "p_mw", "vm_pu", "min_q_mvar", "max_q_mvar", "scaling", "slack", "slack_weight",
    ),
    e.StaticGenerator: ("p_mw", "q_mvar", "scaling"),
    e.AsymmetricStaticGenerator: (
        "p_a_mw", "p_b_mw", "p_c_mw", "q_a_mvar", "q_b_mvar", "q_c_mvar", "scaling",
    ),
    e.Load: (
        "p_mw", "q_mvar", "const_z_p_percent", "const_i_p_percent", "const_z_q_percent",
        "const_i_q_percent", "scaling",
    ),
    e.AsymmetricLoad: (
        "p_a_mw", "p_b_mw", "p_c_mw", "q_a_mvar", "q_b_mvar", "q_c_mvar", "scaling",
    ),
    e.Line: (
        "length_km", "r_ohm_per_km", "x_ohm_per_km", "c_nf_per_km", "g_us_per_km", "max_i_ka",
        "df", "parallel",
    ),
    e.Transformer: (
        "sn_mva", "vn_hv_kv", "vn_lv_kv", "vk_percent", "vkr_percent", "pfe_kw", "i0_percent",
        "parallel", "df",
    ),
    e.ThreeWindingTransformer: (
        "sn_hv_mva", "sn_mv_mva", "sn_lv_mva", "vn_hv_kv", "vn_mv_kv", "vn_lv_kv",
        "vk_hv_percent", "vk_mv_percent", "vk_lv_percent", "vkr_hv_percent", "vkr_mv_percent",
        "vkr_lv_percent", "pfe_kw", "i0_percent", "tap_at_star_point",
    ),
    e.ShuntReactor: ("p_mw", "q_mvar", "step"),
    e.Capacitor: ("p_mw", "q_mvar", "step"),
    e.Shunt: ("p_mw", "q_mvar", "step"),
    e.Impedance: ("sn_mva", "rft_pu", "xft_pu", "gf_pu", "bf_pu"),
    e.Ward: ("ps_mw", "qs_mvar", "pz_mw", "qz_mvar"),
    e.ExtendedWard: (
        "ps_mw", "qs_mvar", "pz_mw", "qz_mvar", "r_ohm", "x_ohm", "vm_pu", "slack_weight",
    ),
    e.Motor: ("pn_mech_mw", "cos_phi", "efficiency_percent", "loading_percent", "scaling"),
    e.SVC: (
        "x_l_ohm", "x_cvar_ohm", "set_vm_pu", "thyristor_firing_angle_degree", "controllable",
        "min_angle_degree", "max_angle_degree",
    ),
    e.TCSC: (
        "x_l_ohm", "x_cvar_ohm", "set_p_to_mw", "thyristor_firing_angle_degree", "controllable",
        "min_angle_degree", "max_angle_degree",
    ),
    e.SSC: (
        "r_ohm", "x_ohm", "set_vm_pu", "vm_internal_pu", "va_internal_degree", "controllable",
    ),
    e.Storage: ("p_mw", "q_mvar", "scaling"),
    e.PVSystem: (),
    e.Switch: ("closed", "z_ohm", "in_ka"),
    e.DCLine: (
        "p_mw", "loss_percent", "loss_mw", "vm_from_pu", "vm_to_pu", "min_q_from_mvar",
        "max_q_from_mvar", "min_q_to_mvar", "max_q_to_mvar",
    ),
    e.DCBus: ("vn_kv",),
    e.LineDC: ("length_km", "r_ohm_per_km", "g_us_per_km", "max_i_ka", "df", "parallel"),
    e.LoadDC: ("p_dc_mw", "scaling"),
    e.SourceDC: ("vm_pu",),
    e.VSC: (
        "r_ohm", "x_ohm", "r_dc_ohm", "pl_dc_mw", "control_value_ac", "control_value_dc",
        "controllable",
    ),
    e.B2BVSC: (
        "r_ohm", "x_ohm", "r_dc_ohm", "pl_dc_mw", "control_value_ac", "control_value_dc",
        "controllable",
    ),
})  # fmt: skip

#: Kinds of which only what is alive becomes rows: their mere presence changes the algorithm.
ONLY_ALIVE = (e.DCLine, e.SVC, e.TCSC, e.SSC, e.LineDC, e.LoadDC, e.SourceDC, e.VSC, e.B2BVSC)


def power_flow_blocks(network: Network, topology: Topology, settings: Settings) -> list[Block]:
    """Everything that a balanced power flow needs, in the catalogue's order."""
    blocks = [
        block(network, topology, settings, network.rows(kind))
        for kind in KINDS
        if kind in network.kinds
    ]
    if topology.bus_dc.any() and not _has_work_and_reference(network, topology):
        blocks += _stand_in(len(network.rows(e.Bus)))
    sources = network.rows(e.SourceDC)
    if len(sources):
        held = np.unique(sources.at["bus_dc"][topology.alive(e.SourceDC)])
        if len(held) == topology.bus_dc.sum():
            blocks += _stand_in_dc(held, len(topology.bus_dc))
    blocks.append(_open_windings(network, topology))
    return [each for each in blocks if len(each.names)]


def block(network: Network, topology: Topology, settings: Settings, rows: Rows) -> Block:
    """The rows of one kind."""
    kind = rows.kind
    alive = topology.alive(kind)
    if kind is e.LineDC:
        # One that is fed from one end only carries nothing, and breaks pandapower's DC networks.
        alive = (
            alive & topology.supplied(rows, "from_bus_dc") & topology.supplied(rows, "to_bus_dc")
        )
    columns = _TRANSLATIONS.get(kind, _plain)(network, settings, rows)
    table = kind.table
    if settings.linear and kind in _AS_SUMS:
        table, columns = _AS_SUMS[kind], _sums(rows)
    if kind is not e.Switch:
        columns["in_service"] = alive
    if kind in (e.DCBus, e.SourceDC):
        return _dc_nodes(network, rows, columns, alive)
    if kind not in ONLY_ALIVE or (alive.all() and kind is not e.B2BVSC):
        return Block(table, kind, _labels(rows), columns)
    names = [name for name, lives in zip(_labels(rows), alive, strict=True) if lives]
    columns = {name: values[alive] for name, values in columns.items()}
    if kind is e.B2BVSC:
        table, names, columns = _as_two(names, columns)
    return Block(table, kind, names, columns, alive)


def _labels(rows: Rows) -> Sequence[str | None]:
    """What a script calls the elements: by their names, or their ids."""
    if None not in rows.names:
        return rows.names
    return [name or id_ for name, id_ in zip(rows.names, rows.ids, strict=True)]


def frames(expected: Expected, blocks: Sequence[Block]) -> dict[str, pd.DataFrame]:
    """pandapower's table → its frame, with every column that pandapower expects there."""
    by_table: dict[str, list[Block]] = {}
    for each in blocks:
        by_table.setdefault(each.table, []).append(each)
    return {table: _frame(expected[table], parts) for table, parts in by_table.items()}


def expected_columns(empty: Mapping[str, pd.DataFrame], tables: Iterable[str]) -> Expected:
    """What the columns of pandapower's empty tables hold: "f" numbers, "b" flags, or else."""
    return {
        table: {name: dtype.kind for name, dtype in empty[table].dtypes.items()} for table in tables
    }


def _frame(expected: Mapping[str, str], parts: Sequence[Block]) -> pd.DataFrame:
    data = {}
    for name in dict.fromkeys([*expected, *(name for part in parts for name in part.columns)]):
        pieces = [
            part.columns[name]
            if name in part.columns
            else _missing(expected.get(name, "f"), len(part.names))
            for part in parts
        ]
        data[name] = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    return pd.DataFrame(data, index=_index(parts), copy=False)


def _index(parts: Sequence[Block]) -> Array | None:
    orders = [part.order for part in parts if part.order is not None]
    return np.concatenate(orders) if orders else None


def _missing(kind: str, count: int) -> Array:
    """What stands in a column that nobody gave: NaN, False, or None."""
    numbers = (np.nan, float)
    fill, dtype = {"f": numbers, "u": numbers, "b": (False, bool)}.get(kind, (None, object))
    return np.full(count, fill, dtype=dtype)


# -- from fields to columns ------------------------------------------------------------------------


def _plain(network: Network, settings: Settings, rows: Rows) -> Columns:
    """The columns of a kind whose fields are pandapower's."""
    columns = {
        name: rows.at[name]
        for name, field in FIELDS[rows.kind].items()
        if field.refers_to and name in rows.at and name not in ("power_station_trafo", "reference")
    }
    return columns | {name: rows.column(name) for name in POWER_FLOW[rows.kind]}


def _words(rows: Rows, *names: str) -> Columns:
    return {name: np.array(rows.values(name), dtype=object) for name in names}


def _load(network: Network, settings: Settings, rows: Rows) -> Columns:
    columns = _plain(network, settings, rows)
    if not settings.voltage_depend_loads or settings.linear:
        columns |= {name: np.zeros(len(rows)) for name in columns if name.startswith("const_")}
    return columns


def _static_generator(network: Network, settings: Settings, rows: Rows) -> Columns:
    columns = _plain(network, settings, rows)
    if settings.enforce_q_lims:
        low, high = rows.column("min_q_mvar"), rows.column("max_q_mvar")
        columns["q_mvar"] = np.fmin(np.fmax(columns["q_mvar"], low), high)
    return columns


def _shunt(network: Network, settings: Settings, rows: Rows) -> Columns:
    vn_kv = rows.column("vn_kv")
    at_bus = network.rows(e.Bus).column("vn_kv")[rows.at["bus"]]
    vn_kv = np.where(np.isnan(vn_kv), at_bus, vn_kv)
    return {**_plain(network, settings, rows), "vn_kv": vn_kv}


def _line(network: Network, settings: Settings, rows: Rows) -> Columns:
    columns = _plain(network, settings, rows)
    rated_ka = columns["max_i_ka"]
    columns["max_i_ka"] = np.where(rated_ka == 0, np.nan, rated_ka)
    if settings.consider_line_temperature:
        for name, otherwise in (
            ("alpha", ALPHA_PER_K),
            ("temperature_degree_celsius", REFERENCE_CELSIUS),
        ):
            columns[name] = np.nan_to_num(rows.column(name), nan=otherwise)
    return columns


def _transformer(network: Network, settings: Settings, rows: Rows) -> Columns:
    columns = {**_plain(network, settings, rows), "shift_degree": shift_degree(rows)}
    for share in ("leakage_resistance_ratio_hv", "leakage_reactance_ratio_hv"):
        columns[share] = np.nan_to_num(rows.column(share), nan=0.5)
    return {**columns, **_taps(rows, ""), **_taps(rows, "2")}


def _transformer3w(network: Network, settings: Settings, rows: Rows) -> Columns:
    mv, lv = shifts3w_degree(rows)
    shifts = {"shift_mv_degree": mv, "shift_lv_degree": lv}
    return {**_plain(network, settings, rows), **shifts, **_taps(rows, "")}


def _taps(rows: Rows, changer: str) -> Columns:
    """A tap changer as pandapower wants it: position, neutral and type where there is a side."""
    side = np.array(rows.values(f"tap{changer}_side"), dtype=object)
    if not any(side):
        return {}
    neutral = np.nan_to_num(rows.column(f"tap{changer}_neutral"))
    position = rows.column(f"tap{changer}_pos")
    kinds = [kind or "Ratio" for kind in rows.values(f"tap{changer}_changer_type")]
    return {
        f"tap{changer}_side": side,
        f"tap{changer}_neutral": neutral,
        f"tap{changer}_pos": np.where(np.isnan(position), neutral, position),
        f"tap{changer}_step_percent": rows.column(f"tap{changer}_step_percent"),
        f"tap{changer}_step_degree": np.nan_to_num(rows.column(f"tap{changer}_step_degree")),
        f"tap{changer}_changer_type": np.array(kinds, dtype=object),
    }


def _impedance(network: Network, settings: Settings, rows: Rows) -> Columns:
    columns = _plain(network, settings, rows)
    for one, other in (("rft", "rtf"), ("xft", "xtf"), ("gf", "gt"), ("bf", "bt")):
        given = rows.column(f"{other}_pu")
        columns[f"{other}_pu"] = np.where(np.isnan(given), rows.column(f"{one}_pu"), given)
    return columns


def _switch(network: Network, settings: Settings, rows: Rows) -> Columns:
    return {**_plain(network, settings, rows), "et": rows.at["et"].astype(object)}


def _pv_system(network: Network, settings: Settings, rows: Rows) -> Columns:
    power = power_mva(rows)
    return {
        "bus": rows.at["bus"],
        "p_mw": power.real.copy(),
        "q_mvar": power.imag.copy(),
        "scaling": np.ones(len(rows)),
    }


def _converter(network: Network, settings: Settings, rows: Rows) -> Columns:
    columns = _plain(network, settings, rows)
    columns |= _words(rows, "control_mode_ac", "control_mode_dc")
    # The slack of an AC island takes what it needs; pandapower starts from its DC values all the
    # same, and a voltage of 0, which is their default, is no start.
    slack = columns["control_mode_ac"] == "slack"
    columns["control_mode_dc"] = np.where(slack, "p_mw", columns["control_mode_dc"])
    columns["control_value_dc"] = np.where(slack, 0, columns["control_value_dc"])
    return columns


def _as_two(names: Sequence[str | None], columns: Columns) -> tuple[str, list[str | None], Columns]:
    """A stacked converter as pandapower has it: one per pole, with half the impedances each.

    We make the two ourselves, because pandapower does so without regard to in_service and then
    finds them by their names.
    """
    poles = [columns.pop("bus_dc_plus"), columns.pop("bus_dc_minus")]
    columns = {name: np.repeat(values, 2) for name, values in columns.items()}
    columns["bus_dc"] = np.stack(poles, axis=1).ravel()
    for name in ("r_ohm", "x_ohm", "r_dc_ohm"):
        columns[name] = columns[name] / 2
    return "vsc", [name for name in names for _ in poles], columns


#: Kinds that pandapower's linearised power flow leaves out, and where their sums are counted.
_AS_SUMS: Mapping[type[Element], str] = MappingProxyType(
    {e.AsymmetricLoad: "load", e.AsymmetricStaticGenerator: "sgen"}
)


def _sums(rows: Rows) -> Columns:
    p, q = (
        sum(rows.column(f"{quantity}_{phase}_{unit}") for phase in "abc")
        for quantity, unit in (("p", "mw"), ("q", "mvar"))
    )
    shares = ("const_z_p_percent", "const_i_p_percent", "const_z_q_percent", "const_i_q_percent")
    nothing = {name: np.zeros(len(rows)) for name in shares if rows.kind is e.AsymmetricLoad}
    return {
        "bus": rows.at["bus"], "p_mw": p, "q_mvar": q, "scaling": rows.column("scaling"), **nothing,
    }  # fmt: skip


def _dc_nodes(network: Network, rows: Rows, columns: Columns, alive: Array) -> Block:
    """Living DC buses, those with a source first, or their sources in the same order.

    pandapower counts on this order, and diverges or breaks without it.
    """
    if rows.kind is e.DCBus:
        sources = network.rows(e.SourceDC)
        held = np.zeros(len(rows), dtype=bool)
        if len(sources):
            held[sources.at["bus_dc"][sources.column("in_service")]] = True
        order = np.argsort(~held, kind="stable")
    else:
        order = np.argsort(rows.at["bus_dc"], kind="stable")
    order = order[alive[order]]
    names = [_labels(rows)[row] for row in order]
    columns = {name: values[order] for name, values in columns.items()}
    return Block(rows.kind.table, rows.kind, names, columns, alive, order)


def _has_work_and_reference(network: Network, topology: Topology) -> bool:
    """Whether pandapower finds an AC side to solve beside a DC network: it needs one."""
    converters = any(topology.alive(kind).any() for kind in (e.VSC, e.B2BVSC))
    slack = topology.alive(e.Generator) & network.rows(e.Generator).column("slack")
    return converters and bool(topology.alive(e.ExternalGrid).any() or slack.any())


def _stand_in_dc(held: Array, new: int) -> list[Block]:
    """A DC bus without a source, at a line: pandapower breaks where every DC bus has one."""
    if not len(held):
        return []
    name = "stands in for a DC network"
    one, yes = np.ones(1), np.ones(1, dtype=bool)
    ends = {"from_bus_dc": held[:1], "to_bus_dc": np.array([new])}
    values = {"length_km": 1, "r_ohm_per_km": 1, "g_us_per_km": 0, "max_i_ka": 1, "df": 1,
              "parallel": 1}  # fmt: skip
    line = {**ends, **{key: value * one for key, value in values.items()}, "in_service": yes}
    bus = {"vn_kv": one, "in_service": yes}
    return [
        Block("bus_dc", None, [name], bus, order=np.array([new])),
        Block("line_dc", None, [name], line),
    ]


def _open_windings(network: Network, topology: Topology) -> Block:
    """Open switches at windings whose bus is out of service: the others still magnetise the core.

    Without them pandapower takes such a winding away whole, and with the hv one the iron losses.
    """
    rows = network.rows(e.ThreeWindingTransformer)
    in_service = network.rows(e.Bus).column("in_service")
    bus, element = [], []
    for port in rows.kind.ports if len(rows) else ():
        dark = ~in_service[rows.at[port.bus]] & ~topology.opened(rows, port.bus)
        element.append(np.flatnonzero(dark & topology.alive(rows.kind)))
        bus.append(rows.at[port.bus][element[-1]])
    count = sum(map(len, element))
    columns = {
        "bus": np.concatenate(bus) if count else np.zeros(0, dtype=int),
        "element": np.concatenate(element) if count else np.zeros(0, dtype=int),
        "et": np.full(count, "t3", dtype=object),
        "closed": np.zeros(count, dtype=bool),
        "z_ohm": np.zeros(count),
    }
    return Block("switch", None, ["open at a dead bus"] * count, columns)


def _stand_in(first: int) -> list[Block]:
    name = "stands in for an AC network"
    one, yes = np.ones(1), np.ones(1, dtype=bool)
    buses = {"vn_kv": np.ones(2), "in_service": np.ones(2, dtype=bool)}
    at = np.array([first])
    grid = {"bus": at, "vm_pu": one, "va_degree": 0 * one, "slack_weight": one, "in_service": yes}
    values = {"length_km": 1, "r_ohm_per_km": 1, "x_ohm_per_km": 1, "c_nf_per_km": 0,
              "g_us_per_km": 0, "max_i_ka": 1, "df": 1, "parallel": 1}  # fmt: skip
    line = {"from_bus": at, "to_bus": at + 1, **{k: v * one for k, v in values.items()}}
    return [
        Block("bus", None, [name, name], buses),
        Block("ext_grid", None, [name], grid),
        Block("line", None, [name], {**line, "in_service": yes}),
    ]


_Translation = Callable[[Network, Settings, Rows], Columns]

_TRANSLATIONS: Mapping[type[Element], _Translation] = MappingProxyType(
    {
        e.StaticGenerator: _static_generator,
        e.Load: _load,
        e.ShuntReactor: _shunt,
        e.Capacitor: _shunt,
        e.Shunt: _shunt,
        e.Line: _line,
        e.Transformer: _transformer,
        e.ThreeWindingTransformer: _transformer3w,
        e.Impedance: _impedance,
        e.Switch: _switch,
        e.PVSystem: _pv_system,
        e.VSC: _converter,
        e.B2BVSC: _converter,
    }
)
