"""pandapower's per-unit arrays for a short circuit: its branches and buses, without any source.

pandapower's own conversion makes them, called as its `calc_sc` does: no charging, transformers as
series impedances with K_T, lines at their final temperature, and the zero sequence of every vector
group.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from pandapower.auxiliary import _add_ppc_options, _add_sc_options, pandapowerNet
from pandapower.pd2ppc import _pd2ppc
from pandapower.pd2ppc_zero import _pd2ppc_zero
from pandapower.pypower.idx_brch import F_BUS, T_BUS
from pandapower.pypower.idx_bus import BASE_KV, BS, GS
from pandapower.pypower.makeYbus import makeYbus
from scipy.linalg import inv
from scipy.sparse import csc_matrix, diags
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.network import Array, Network
from electrisim.studies.shortcircuit import ShortCircuit
from electrisim.topology import Topology
from pandapower_tables import Block, power_flow_blocks

#: An admittance below this share of a per-unit system of 1 MVA is none.
NOTHING = 1e-12

#: What the short circuit reads of the branches beyond the power flow.
BEYOND: Mapping[type[Element], tuple[str, ...]] = MappingProxyType({
    e.Line: ("endtemp_degree", "r0_ohm_per_km", "x0_ohm_per_km", "c0_nf_per_km"),
    e.Transformer: (
        "vk0_percent", "vkr0_percent", "mag0_percent", "mag0_rx", "si0_hv_partial", "xn_ohm",
    ),
    e.ThreeWindingTransformer: (
        "vk0_hv_percent", "vk0_mv_percent", "vk0_lv_percent",
        "vkr0_hv_percent", "vkr0_mv_percent", "vkr0_lv_percent",
    ),
    e.Impedance: (
        "rft0_pu", "xft0_pu", "rtf0_pu", "xtf0_pu", "gf0_pu", "bf0_pu", "gt0_pu", "bt0_pu",
    ),
})  # fmt: skip
TABLES = ("bus", "line", "trafo", "trafo3w", "impedance", "switch")

MakeNet = Callable[[float, Sequence[Block]], pandapowerNet]


# -- the arrays ------------------------------------------------------------------------------------


class Arrays:
    """pandapower's per-unit arrays of one sequence, without any source.

    bus, branch   pandapower's own
    base_mva      base of the per-unit system; base_kv of each node
    of_bus        bus of the network → node; -1 where it has no supply
    """

    def __init__(self, net: pandapowerNet, ppci: Any) -> None:
        self.bus, self.branch = ppci["bus"].real.copy(), ppci["branch"].copy()
        self.base_mva = float(ppci["baseMVA"])
        self.base_kv = self.bus[:, BASE_KV]
        lookup = net["_pd2ppc_lookups"]["bus"][net["bus"].index.to_numpy()]
        self.of_bus = np.where((lookup >= 0) & (lookup < len(self.bus)), lookup, -1)
        kept = ppci["internal"]["branch_is"]
        self._of_branch = np.where(kept, np.cumsum(kept) - 1, -1)
        self._ranges = dict(net["_pd2ppc_lookups"]["branch"])
        self.f, self.t = (self.branch[:, end].real.astype(np.int64) for end in (F_BUS, T_BUS))

    def branches_of(self, table: str) -> Array:
        """Branches of a table's elements, -1 where out; shape (branches per element, n)."""
        start, end = self._ranges.get(table, (0, 0))
        return np.asarray(self._of_branch[start:end].reshape(3 if table == "trafo3w" else 1, -1))

    @property
    def ka(self) -> Array:
        """What 1 pu of current is at each node [kA]."""
        return np.asarray(self.base_mva / (np.sqrt(3) * self.base_kv))

    def pu(self, node: Array, z_ohm: Array) -> Array:
        """Admittances per unit of impedances at these nodes."""
        return np.asarray(self.base_kv[node] ** 2 / self.base_mva / z_ohm)


def blocks(network: Network, topology: Topology, settings: ShortCircuit) -> list[Block]:
    """The tables of the branches, and a reference for pandapower, which feeds nothing."""
    blocks = [
        each._replace(columns={**each.columns, **_beyond(network, each)})
        for each in power_flow_blocks(network, topology, settings)
        if each.table in TABLES
    ]
    one = np.full(1, 1.0)
    at = np.flatnonzero(topology.bus)[:1]
    nothing = {f"s_sc_{settings.case}_mva": one * 1e-30} | {
        f"{name}_{settings.case}": one for name in ("rx", "x0x", "r0x0")
    }
    columns = {"bus": at, "vm_pu": one, "va_degree": 0 * one, "slack_weight": one, **nothing}
    return [*blocks, Block("ext_grid", None, [""], {**columns, "in_service": one > 0})]


def _beyond(network: Network, block: Block) -> dict[str, Array]:
    if block.kind is None:
        return {}
    rows = network.rows(block.kind)
    columns = {name: rows.column(name) for name in BEYOND.get(block.kind, ())}
    if block.kind in (e.Transformer, e.ThreeWindingTransformer):
        groups = [bare_group(group) for group in rows.values("vector_group")]
        columns["vector_group"] = np.array(groups, dtype=object)
    if block.kind is e.Transformer:
        columns["power_station_unit"] = unit_transformers(network)
        columns["xn_ohm"] = np.nan_to_num(columns["xn_ohm"])
    if block.kind is e.Impedance:
        columns |= _both_ways(columns)
    return columns


def _both_ways(columns: Mapping[str, Array]) -> dict[str, Array]:
    """The zero sequence of impedances: back as forth, no admittance where none is given."""
    found = {name: np.nan_to_num(columns[name]) for name in ("gf0_pu", "bf0_pu")}
    for one, other in (("rft0", "rtf0"), ("xft0", "xtf0"), ("gf0", "gt0"), ("bf0", "bt0")):
        forth = found.get(f"{one}_pu", columns[f"{one}_pu"])
        back = columns[f"{other}_pu"]
        found[f"{other}_pu"] = np.where(np.isnan(back), forth, back)
    return found


def bare_group(vector_group: str | None) -> str | None:
    """A vector group without its clock numbers, as pandapower wants it."""
    return None if vector_group is None else re.sub(r"\d", "", vector_group)


def unit_transformers(network: Network) -> Array:
    """Which transformers belong to power-station units: said by them or by a generator."""
    flags = np.array(
        [bool(flag) for flag in network.rows(e.Transformer).values("power_station_unit")]
    )
    generators = network.rows(e.Generator)
    if len(generators):
        at = generators.at["power_station_trafo"]
        flags[at[at >= 0]] = True
    return flags


def arrays(net: pandapowerNet, settings: ShortCircuit, k_s: Array) -> tuple[Arrays, Arrays | None]:
    """pandapower's arrays of the positive and, for a fault to earth, of the zero sequence."""
    net["_options"] = {}
    _add_ppc_options(
        net, calculate_voltage_angles=False, trafo_model="pi", check_connectivity=False,
        mode="sc", switch_rx_ratio=2, init_vm_pu="flat", init_va_degree="flat",
        enforce_q_lims=False, enforce_p_lims=False, recycle=None,
    )  # fmt: skip
    _add_sc_options(
        net, fault=settings.fault, case=settings.case, lv_tol_percent=settings.lv_tol_percent,
        tk_s=settings.tk_s, topology=settings.topology, r_fault_ohm=0, x_fault_ohm=0, kappa=False,
        ip=False, ith=False, branch_results=False, kappa_method="C", return_all_currents=False,
        inverse_y=True, use_pre_fault_voltage=False,
    )  # fmt: skip
    ppc, ppci = _pd2ppc(net)
    positive = Arrays(net, ppci)
    positive.bus[:, [GS, BS]] = 0
    if settings.fault != "1ph":
        return positive, None
    factors = np.full(len(ppc["branch"]), np.nan)
    start, end = net["_pd2ppc_lookups"]["branch"].get("trafo", (0, 0))
    factors[start:end] = k_s
    with np.errstate(all="ignore"):
        _, ppci0 = _pd2ppc_zero(net, factors)
    return positive, Arrays(net, ppci0)


# -- systems to solve ------------------------------------------------------------------------------


class System:
    """A network of one sequence with its sources, ready to be solved.

    y            nodal admittances
    y_from, y_to what branches draw at their ends
    """

    def __init__(self, arrays: Arrays, branch: Array, y_earth: Array, dense: bool) -> None:
        bus, self.y_from, self.y_to = makeYbus(arrays.base_mva, arrays.bus, branch)
        self.y = csc_matrix(bus + diags(y_earth))
        if dense:
            whole = inv(self.y.toarray())
            self._columns = lambda at: whole[:, at]
        else:
            factors = splu(self.y)
            self._columns = lambda at: factors.solve(_units(self.y.shape[0], at))

    def columns(self, at: Array) -> Array:
        """Columns of the impedance matrix, shape (nodes, len(at))."""
        return np.asarray(self._columns(at))


def _units(count: int, at: Array) -> Array:
    units = np.zeros((count, len(at)), dtype=complex)
    units[at, np.arange(len(at))] = 1
    return units


class Faults(NamedTuple):
    """Some faults, solved; per unit unless said otherwise. K faults, n nodes, b branches.

    at           node of each fault
    c            voltage factor
    scale        rated over nominal voltage where the fault is inside a power-station unit, else 1
    z, z0        impedance at the fault, shape (K,), the fault's own included
    i            current of the driving voltage: positive sequence
    i_cv         what converters add at the fault: positive sequence
    i_zero       zero sequence
    v, v_cv      voltages that they make, shape (n, K)
    v_zero       voltages of the zero sequence
    kappa        peak factor
    injected     what converters inject, shape (n,)
    y_sources    admittance of each group of sources, for these faults
    system       in which they were solved, zero_system that of the zero sequence
    """

    at: Array
    c: Array
    scale: Array
    z: Array
    z0: Array
    i: Array
    i_cv: Array
    i_zero: Array
    v: Array
    v_cv: Array
    v_zero: Array
    kappa: Array
    injected: Array
    y_sources: list[Array]
    system: System
    zero_system: System | None


def earthed(arrays: Arrays, y_earth: Array) -> tuple[System, Array]:
    """A zero sequence that can be solved: nodes without a way to earth are cut off from it."""
    own, _, _ = makeYbus(arrays.base_mva, arrays.bus, arrays.branch)
    y = csc_matrix(own + diags(y_earth))
    joined = abs(y) > NOTHING
    parts = connected_components(joined, directed=False)[1]
    leaves = np.abs(np.asarray(y.sum(axis=1)).ravel()) > NOTHING
    earthed = np.isin(parts, np.unique(parts[leaves]))
    return System(arrays, arrays.branch, y_earth + ~earthed, dense=False), earthed


def fed_twice(arrays: Arrays, sources: Array) -> Array:
    """Which nodes have more than one simple path to earth, over branches and sources.

    A node has one path only where every branch on it is a bridge of the graph with earth; so what
    stays connected with earth over bridges alone is fed once.
    """
    count = len(arrays.bus)
    ends = [(int(f), int(t)) for f, t in zip(arrays.f, arrays.t, strict=True)]
    ends += [(count, int(node)) for node in sources]
    bridge = _bridges(count + 1, ends)
    neighbours: dict[int, list[int]] = {}
    for (one, other), is_bridge in zip(ends, bridge, strict=True):
        if is_bridge:
            neighbours.setdefault(one, []).append(other)
            neighbours.setdefault(other, []).append(one)
    twice = np.ones(count + 1, dtype=bool)
    twice[count] = False
    waiting = deque([count])
    while waiting:
        for node in neighbours.get(waiting.popleft(), ()):
            if twice[node]:
                twice[node] = False
                waiting.append(node)
    return twice[:count]


def _bridges(count: int, ends: Sequence[tuple[int, int]]) -> list[bool]:
    """Which edges of a multigraph lie on no cycle (Tarjan, without recursion)."""
    at: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for number, (one, other) in enumerate(ends):
        at[one].append((other, number))
        at[other].append((one, number))
    order, low, is_bridge = [-1] * count, [0] * count, [False] * len(ends)
    time = 0
    for root in range(count):
        if order[root] >= 0:
            continue
        order[root] = low[root] = time
        time += 1
        stack = [(root, -1, iter(at[root]))]
        while stack:
            node, by, edges = stack[-1]
            for other, number in edges:
                if number == by:
                    continue
                if order[other] < 0:
                    order[other] = low[other] = time
                    time += 1
                    stack.append((other, number, iter(at[other])))
                    break
                low[node] = min(low[node], order[other])
            else:
                stack.pop()
                if stack:
                    above = stack[-1][0]
                    low[above] = min(low[above], low[node])
                    is_bridge[by] = low[node] > order[above]
    return is_bridge
