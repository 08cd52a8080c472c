"""From an engine's solution to results: masked without supply, completed where sums tell more.

An ideal switch has no impedance, so no engine knows its current. Kirchhoff's law does, wherever the
switch is a bridge between two parts of its node; in a loop of ideal switches the flow is
undetermined and stays null.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import networkx as nx
import numpy as np

from electrisim import elements as e
from electrisim.balance import BRANCHES, drawn_mva
from electrisim.elements import Element
from electrisim.network import Array, Network, Rows
from electrisim.results import Tables
from electrisim.settings import Settings
from electrisim.topology import Topology


def complete(network: Network, topology: Topology, settings: Settings, tables: Tables) -> Tables:
    """The tables with bus powers and switch flows added and elements without supply masked."""
    done: dict[type[Element], dict[str, Array]] = {}
    for kind, columns in tables.items():
        alive = topology.alive(kind)
        done[kind] = {
            name: np.where(alive[(...,) + (None,) * (values.ndim - 1)], values, np.nan)
            for name, values in columns.items()
        }
    if settings.model == "balanced":
        _add_bus_powers(network, topology, settings, done)
        if e.Switch in done:
            _add_switch_flows(network, topology, done)
    return done


def _add_bus_powers(
    network: Network,
    topology: Topology,
    settings: Settings,
    tables: dict[type[Element], dict[str, Array]],
) -> None:
    """What a bus draws is what the elements at it draw, on whichever engine."""
    drawn, drawn_dc = drawn_mva(
        network, topology, tables, [kind for kind in tables if kind not in BRANCHES]
    )
    if e.Bus in tables:
        tables[e.Bus]["p_mw"] = np.where(topology.bus, drawn.real, np.nan)
        if not settings.linear:
            tables[e.Bus]["q_mvar"] = np.where(topology.bus, drawn.imag, np.nan)
    if e.DCBus in tables:
        tables[e.DCBus]["p_mw"] = np.where(topology.bus_dc, drawn_dc.real, np.nan)


#: A flow of which neither part is known; NaN alone has an imaginary part of 0.
UNDETERMINED = complex(np.nan, np.nan)

_BRANCH: Mapping[str, type[Element]] = {
    "l": e.Line,
    "t": e.Transformer,
    "t3": e.ThreeWindingTransformer,
}


def _add_switch_flows(
    network: Network, topology: Topology, tables: dict[type[Element], dict[str, Array]]
) -> None:
    rows = network.rows(e.Switch)
    columns = tables[e.Switch]
    flow = columns["p_from_mw"] + 1j * columns["q_from_mvar"]
    alive = topology.alive(e.Switch)
    for et, kind in _BRANCH.items():
        at_branch = alive & (rows.at["et"] == et)
        if at_branch.any():
            flow[at_branch] = _terminal_flow(network, kind, tables, rows, at_branch)
    ideal = alive & (rows.at["et"] == "b") & (rows.column("z_ohm") == 0)
    if ideal.any():
        flow[ideal] = _bridge_flows(network, topology, tables, rows, np.flatnonzero(ideal))
    mine = alive & ((rows.at["et"] != "b") | ideal)
    bus = rows.at["bus"]
    vn_kv = network.rows(e.Bus).column("vn_kv")[bus]
    i_ka = np.abs(flow) / (np.sqrt(3) * tables[e.Bus]["vm_pu"][bus] * vn_kv)
    columns["p_from_mw"] = np.where(mine, flow.real, columns["p_from_mw"])
    columns["q_from_mvar"] = np.where(mine, flow.imag, columns["q_from_mvar"])
    columns["p_to_mw"] = np.where(mine, -flow.real, columns["p_to_mw"])
    columns["q_to_mvar"] = np.where(mine, -flow.imag, columns["q_to_mvar"])
    columns["i_ka"] = np.where(mine, i_ka, columns["i_ka"])
    columns["loading_percent"] = 100 * columns["i_ka"] / rows.column("in_ka")


def _terminal_flow(
    network: Network, kind: type[Element], tables: Tables, rows: Rows, wanted: Array
) -> Array:
    """Power that the switched branches draw through their switches [MVA]."""
    branches = network.rows(kind)
    element, bus = rows.at["element"][wanted], rows.at["bus"][wanted]
    flow = np.full(len(element), UNDETERMINED)
    for port in kind.ports:
        here = branches.at[port.bus][element] == bus
        power = tables[kind][port.p] + 1j * tables[kind][port.q or ""]
        flow = np.where(here, power[element], flow)
    return flow


def _bridge_flows(
    network: Network, topology: Topology, tables: Tables, rows: Rows, switches: Array
) -> Array:
    """Power from `bus` to `element` through each ideal switch; NaN in loops [MVA]."""
    drawn, _ = drawn_mva(network, topology, tables, network.kinds)
    one, other = rows.at["bus"][switches], rows.at["element"][switches]
    at_ends: dict[frozenset[int], list[int]] = defaultdict(list)
    for k, ends in enumerate(zip(one.tolist(), other.tolist(), strict=True)):
        at_ends[frozenset(ends)].append(k)
    graph: nx.Graph[int] = nx.Graph(list(zip(one.tolist(), other.tolist(), strict=True)))
    pairs: Iterable[Any] = nx.bridges(graph)
    bridges = {frozenset(ends) for ends in pairs if len(at_ends[frozenset(ends)]) == 1}
    part = {}
    loops = graph.copy()
    loops.remove_edges_from([tuple(b) for b in bridges])
    for number, members in enumerate(nx.connected_components(loops)):
        part.update(dict.fromkeys(members, number))
    tree = nx.Graph((part[a], part[b], {"ends": (a, b)}) for a, b in map(tuple, bridges))
    total: dict[int, complex] = defaultdict(complex)
    for bus, number in part.items():
        total[number] += complex(drawn[bus])
    flow = np.full(len(switches), UNDETERMINED)
    for root in [min(members) for members in nx.connected_components(tree)]:
        for parent, child in reversed(list(nx.bfs_edges(tree, root))):
            # What the child's side draws comes over the bridge; rows are then summed upwards.
            k = at_ends[frozenset(tree.edges[parent, child]["ends"])][0]
            towards_child = part[int(other[k])] == child
            flow[k] = total[child] if towards_child else -total[child]
            total[parent] += total[child]
    return flow
