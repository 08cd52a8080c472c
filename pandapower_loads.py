"""Loads that follow the voltage, where pandapower would get them wrong.

pandapower keeps one set of shares per bus: the plain mean of its loads' shares, applied to all that
the bus draws, generation included; and what a grid or a generator delivers it finds without regard
to them. It is right at nodes where all loads have the same shares, nothing else draws constant
power and nothing holds the voltage, by Newton-Raphson and by the sweep. Elsewhere a load stands as
constant power beside a shunt: the square goes into the shunt, and what goes with the voltage v is
told by its value and slope at the voltage v0 that was found last,

    v  ≈  v0/2  +  v²/(2·v0),      wrong by (v − v0)²/(2·v0)

so that a few solutions, each from the last, end where the law holds exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from electrisim import elements as e
from electrisim.network import Array, Network
from electrisim.settings import Settings
from electrisim.topology import Topology
from pandapower_tables import Block, Columns

SHARES = ("const_z_p_percent", "const_i_p_percent", "const_z_q_percent", "const_i_q_percent")

#: Algorithms of pandapower's in which loads do not follow the voltage.
DEAF = ("gs", "fdbx", "fdxb")


class Followers:
    """The loads that pandapower would get wrong.

    rows  which of all loads they are
    bus   where they are, shape (len(rows),)
    """

    def __init__(
        self,
        network: Network,
        topology: Topology,
        settings: Settings,
        blocks: Sequence[Block],
    ) -> None:
        self.network = network
        self._blocks = blocks
        self._at = next((i for i, block in enumerate(blocks) if block.kind is e.Load), None)
        self.rows = np.zeros(0, dtype=np.int64)
        if self._at is not None and any(self._columns[name].any() for name in SHARES):
            wrong = _wrong_nodes(network, topology, blocks, self._columns)
            wrong |= settings.algorithm in DEAF
            node = topology.node[self._columns["bus"]]
            self.rows = np.flatnonzero(topology.alive(e.Load) & wrong[node] & self._follow)
        self.bus = network.rows(e.Load).at["bus"][self.rows] if len(self.rows) else self.rows

    @property
    def _columns(self) -> Columns:
        return self._blocks[self._at].columns if self._at is not None else {}

    @property
    def _follow(self) -> Array:
        return np.any([self._columns[name] != 0 for name in SHARES], axis=0)

    def blocks(self, vm_pu: Array) -> list[Block]:
        """The blocks, with these loads as they are near these bus voltages."""
        if not len(self.rows) or self._at is None:
            return list(self._blocks)
        columns = dict(self._columns)
        v0 = vm_pu[self.bus]
        shunt = {
            "bus": self.bus,
            "vn_kv": self.network.rows(e.Bus).column("vn_kv")[self.bus],
            "step": np.ones(len(self.rows)),
            "in_service": np.ones(len(self.rows), dtype=bool),
        }
        for power, letter in (("p_mw", "p"), ("q_mvar", "q")):
            z, i = (columns[f"const_{part}_{letter}_percent"][self.rows] / 100 for part in "zi")
            asked = columns[power][self.rows]
            columns[power] = _put(columns[power], self.rows, asked * (1 - z - i + i * v0 / 2))
            shunt[power] = columns["scaling"][self.rows] * asked * (z + i / (2 * v0))
        for name in SHARES:
            columns[name] = _put(columns[name], self.rows, 0)
        changed = list(self._blocks)
        changed[self._at] = changed[self._at]._replace(columns=columns)
        loads = self.network.rows(e.Load)
        labels = [loads.names[row] or loads.ids[row] for row in self.rows.tolist()]
        names = [f"{label}: what follows the voltage" for label in labels]
        return [*changed, Block("shunt", None, names, shunt)]

    def error_mva(self, vm_pu: Array, found_pu: Array) -> float:
        """How far these loads are from their law at the voltages that were found."""
        if not len(self.rows):
            return 0.0
        v0, v = vm_pu[self.bus], found_pu[self.bus]
        largest = 0.0
        for power, letter in (("p_mw", "p"), ("q_mvar", "q")):
            i = self._columns[f"const_i_{letter}_percent"][self.rows] / 100
            asked = self._columns[power][self.rows] * self._columns["scaling"][self.rows]
            largest = max(largest, float(np.abs(asked * i * (v - v0) ** 2 / (2 * v0)).max()))
        return largest

    def power_mva(self, vm_pu: Array) -> Array:
        """P + jQ that these loads draw by their own law at these bus voltages."""
        loads, v = self.network.rows(e.Load), vm_pu[self.bus]
        parts = []
        for power, letter in (("p_mw", "p"), ("q_mvar", "q")):
            z, i = (
                loads.column(f"const_{part}_{letter}_percent")[self.rows] / 100 for part in "zi"
            )
            parts.append(loads.column(power)[self.rows] * (1 - z - i + i * v + z * v**2))
        return np.asarray(loads.column("scaling")[self.rows] * (parts[0] + 1j * parts[1]))


def _put(values: Array, at: Array, new: Array | float) -> Array:
    values = values.copy()
    values[at] = new
    return values


def _wrong_nodes(
    network: Network, topology: Topology, blocks: Sequence[Block], loads: Columns
) -> Array:
    """At which nodes pandapower would get loads that follow the voltage wrong, shape (n_node,)."""
    count = len(topology.node)
    wrong = np.zeros(count, dtype=bool)
    alive = loads["in_service"]
    node = topology.node[loads["bus"]][alive]
    for name in SHARES:
        low, high = np.full(count, np.inf), np.full(count, -np.inf)
        np.minimum.at(low, node, loads[name][alive])
        np.maximum.at(high, node, loads[name][alive])
        wrong |= low < high
    for block in blocks:
        power = _constant_mva(block)
        if power is not None:
            wrong[topology.node[block.columns["bus"]][power != 0]] = True
    for bus in _holding(network, topology):
        wrong[topology.node[bus]] = True
    return wrong


def _holding(network: Network, topology: Topology) -> Iterator[Array]:
    """Buses whose voltage something holds."""
    for kind in (e.ExternalGrid, e.Generator, e.DCLine):
        rows = network.rows(kind)
        for port in kind.ports if len(rows) else ():
            yield rows.at[port.bus][topology.alive(kind)]


def _constant_mva(block: Block) -> Array | None:
    """P + jQ that the rows of a block draw at any voltage; None where a kind draws none."""
    c = block.columns
    if block.table in ("sgen", "storage"):
        power = (c["p_mw"] + 1j * c["q_mvar"]) * c["scaling"]
    elif block.table in ("asymmetric_load", "asymmetric_sgen"):
        parts = [c[f"p_{phase}_mw"] + 1j * c[f"q_{phase}_mvar"] for phase in "abc"]
        power = sum(parts) * c["scaling"]
    elif block.table in ("ward", "xward"):
        power = c["ps_mw"] + 1j * c["qs_mvar"]
    elif block.table == "motor":
        power = c["pn_mech_mw"] * c["loading_percent"] * c["scaling"]
    else:
        return None
    return np.asarray(power * c["in_service"])
