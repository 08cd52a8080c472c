"""Loads that follow the voltage, where pandapower would mix them up.

pandapower keeps one set of shares per bus: the plain mean of its loads' shares, applied to all
that the bus draws, generation included. That is right where all loads of a node have the same
shares and nothing else draws constant power there. Elsewhere we choose numbers with which its law
comes out right: with P0, I and Z the powers of a node that are constant, go with the voltage and
with its square, and for any s,

    P0 + I·v + Z·v²  =  D·(1 − ci − cz + ci·v + cz·v²)  +  (Z + s)·v²
    D = P0 + I − s,  ci = I/D,  cz = −s/D

the first term as loads and the last as a shunt. pandapower refuses ci + cz > 1, so s = 2·I where
P0 and I have opposite signs, and 0 else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.network import Array, Network
from electrisim.topology import Topology
from pandapower_tables import Block, Columns


class Shares(NamedTuple):
    """What a node draws, by how it follows the voltage, shape (n_node,) [MW or Mvar]."""

    constant: Array
    current: Array
    impedance: Array


def unmixed(
    network: Network, topology: Topology, blocks: Sequence[Block]
) -> tuple[list[Block], Array]:
    """The blocks with loads that pandapower gets right, and which loads were changed for it.

    Returns (blocks, shape (n_load,)); the changed loads' own powers follow from `power_mva`.
    """
    loads = network.rows(e.Load)
    at = next((i for i, block in enumerate(blocks) if block.kind is e.Load), None)
    if at is None or not any(blocks[at].columns[name].any() for name in _SHARES):
        return list(blocks), np.zeros(len(loads), dtype=bool)
    node = topology.node[loads.at["bus"]]
    alive = topology.alive(e.Load)
    columns = dict(blocks[at].columns)
    mixed = alive & _mixed_nodes(topology, blocks, columns)[node]
    if not mixed.any():
        return list(blocks), mixed
    first = np.flatnonzero(mixed)[np.unique(node[mixed], return_index=True)[1]]
    shunt = {"bus": loads.at["bus"][first], "step": np.ones(len(first))}
    shunt["vn_kv"] = network.rows(e.Bus).column("vn_kv")[shunt["bus"]]
    shunt["in_service"] = np.ones(len(first), dtype=bool)
    for power, letter in (("p_mw", "p"), ("q_mvar", "q")):
        drawn = _shares(topology, blocks, letter)
        opposite = drawn.constant * drawn.current < 0
        s = np.where(opposite, 2 * drawn.current, 0)
        whole = drawn.constant + drawn.current - s
        base = np.where(whole == 0, 1, whole)
        asked = columns[power] * columns["scaling"]
        asked[first] -= (drawn.impedance + s)[node[first]]
        shunt[power] = (drawn.impedance + s)[node[first]]
        for name, share in (("const_i", drawn.current / base), ("const_z", -s / base)):
            name = f"{name}_{letter}_percent"
            columns[name] = np.where(mixed, 100 * share[node], columns[name])
        columns[power] = np.where(mixed, asked, columns[power])
    columns["scaling"] = np.where(mixed, 1, columns["scaling"])
    changed = list(blocks)
    changed[at] = blocks[at]._replace(columns=columns)
    names = [f"squares of {loads.names[row] or loads.ids[row]}" for row in first]
    return [*changed, Block("shunt", None, names, shunt)], mixed


_SHARES = ("const_z_p_percent", "const_i_p_percent", "const_z_q_percent", "const_i_q_percent")


def power_mva(network: Network, vm_pu: Array) -> Array:
    """P + jQ that each load draws by its own law at these bus voltages, shape (n_load,)."""
    loads = network.rows(e.Load)
    v = vm_pu[loads.at["bus"]]
    parts = []
    for power, letter in (("p_mw", "p"), ("q_mvar", "q")):
        z, i = (loads.column(f"const_{part}_{letter}_percent") / 100 for part in "zi")
        parts.append(loads.column(power) * (1 - z - i + i * v + z * v**2))
    return np.asarray(loads.column("scaling") * (parts[0] + 1j * parts[1]))


def _mixed_nodes(topology: Topology, blocks: Sequence[Block], loads: Columns) -> Array:
    """At which nodes the shares of one load would become another's, shape (n_node,)."""
    count = len(topology.node)
    follows, mixed = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    alive = loads["in_service"]
    node = topology.node[loads["bus"]][alive]
    for name in _SHARES:
        share = loads[name][alive]
        follows[node[share != 0]] = True
        low, high = np.full(count, np.inf), np.full(count, -np.inf)
        np.minimum.at(low, node, share)
        np.maximum.at(high, node, share)
        mixed |= low < high
    for block in blocks:
        power = _constant_mva(block)
        if power is not None:
            mixed[topology.node[block.columns["bus"]][power != 0]] = True
    return mixed & follows


def _shares(topology: Topology, blocks: Sequence[Block], letter: str) -> Shares:
    """What each node draws; `letter` p for active, q for reactive power."""
    count = len(topology.node)
    shares = Shares(np.zeros(count), np.zeros(count), np.zeros(count))
    for block in blocks:
        columns = block.columns
        if block.kind is e.Load:
            node = topology.node[columns["bus"]]
            power = columns["p_mw" if letter == "p" else "q_mvar"] * columns["scaling"]
            power = power * columns["in_service"]
            z, i = (columns[f"const_{part}_{letter}_percent"] / 100 for part in "zi")
            np.add.at(shares.constant, node, power * (1 - z - i))
            np.add.at(shares.current, node, power * i)
            np.add.at(shares.impedance, node, power * z)
        elif (drawn := _constant_mva(block)) is not None:
            node = topology.node[columns["bus"]]
            np.add.at(shares.constant, node, drawn.real if letter == "p" else drawn.imag)
    return shares


def _constant_mva(block: Block) -> Array | None:
    """P + jQ that the rows of a block draw at any voltage; None where a kind draws none."""
    c = block.columns
    on = c.get("in_service")
    if block.table in ("sgen", "storage"):
        power = (c["p_mw"] + 1j * c["q_mvar"]) * c["scaling"]
        return np.asarray(power * on * (-1 if block.table == "sgen" else 1))
    if block.table in ("asymmetric_load", "asymmetric_sgen"):
        power = sum(c[f"p_{phase}_mw"] + 1j * c[f"q_{phase}_mvar"] for phase in "abc")
        return np.asarray(power * c["scaling"] * on * (1 if block.table.endswith("load") else -1))
    if block.table in ("ward", "xward"):
        return np.asarray((c["ps_mw"] + 1j * c["qs_mvar"]) * on)
    if block.table == "motor":
        p = c["pn_mech_mw"] / c["efficiency_percent"] * c["loading_percent"] * c["scaling"]
        return np.asarray(p * (1 + 1j * np.sqrt(1 / c["cos_phi"] ** 2 - 1)) * on)
    return None
