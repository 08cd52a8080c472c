"""What the elements draw at each bus, summed from their result columns: Kirchhoff's first law."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from electrisim import elements as e
from electrisim.elements import Element, Port
from electrisim.network import Array, Network
from electrisim.results import Tables
from electrisim.topology import Topology

#: Kinds whose powers pass between buses. What the others draw is what a bus reports; pandapower
#: counts DC lines among the branches.
BRANCHES = (
    e.Line, e.Transformer, e.ThreeWindingTransformer, e.Impedance, e.TCSC, e.Switch, e.DCLine,
    e.LineDC,
)  # fmt: skip

DC_SIDE = ("bus_dc", "bus_dc_plus", "bus_dc_minus", "from_bus_dc", "to_bus_dc")


def drawn_mva(
    network: Network, topology: Topology, tables: Tables, kinds: Iterable[type[Element]]
) -> tuple[Array, Array]:
    """Complex power that the elements of these kinds draw at each AC bus and each DC bus.

    Returns (shape (n_bus,), shape (n_bus_dc,)) [MVA], consumption positive; elements without
    results draw 0.
    """
    ac = np.zeros(len(network.rows(e.Bus)), dtype=complex)
    dc = np.zeros(len(network.rows(e.DCBus)), dtype=complex)
    for kind in kinds:
        rows = network.rows(kind)
        if kind not in tables or not len(rows):
            continue
        for port in kind.ports:
            power = port.sign * _power(tables[kind], port, len(rows))
            if kind is e.Switch:
                between = rows.at["et"] == "b"
                at = rows.at["bus" if port.bus == "from_bus" else "element"]
                np.add.at(ac, at[between], power[between])
            else:
                attached = topology.attached(rows, port.bus)
                side = dc if port.bus in DC_SIDE else ac
                np.add.at(side, rows.at[port.bus][attached], power[attached])
    return ac, dc


def _power(columns: Mapping[str, Array], port: Port, count: int) -> Array:
    """What flows through a port by its own columns, 0 where there is no number [MVA]."""
    power = np.zeros(count, dtype=complex)
    if port.p in columns:
        power.real = np.nan_to_num(columns[port.p])
    if port.q is not None and port.q in columns:
        power.imag = np.nan_to_num(columns[port.q])
    return power
