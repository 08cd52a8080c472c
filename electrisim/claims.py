"""What an answer claims and what it ought to say, ready to be compared.

A claim puts delivered numbers beside asked ones. Here are those between the answer's own numbers:
that powers, losses, currents and voltages fit each other and the graph's data. What the elements'
set-points ask for is in `electrisim.laws`, three unequal phases in `electrisim.phases`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.branches import Flows, dc_flows, flows, linear_flows
from electrisim.elements import Element
from electrisim.network import Array, Network, Rows
from electrisim.results import Tables
from electrisim.settings import Settings
from electrisim.topology import Topology

Found = dict[type[Element], Flows]
Group = Literal["mismatch", "setpoint", "node"]


class Claim(NamedTuple):
    """Delivered beside asked, element by element.

    quantity   power [MVA, complex], active [MW], reactive [Mvar], current [kA],
               voltage [pu, complex or magnitude]
    group      mismatch: of an element's numbers with its data; setpoint: with what was asked of it;
               node: of a bus's numbers with those of the elements there
    asked, delivered  shape (n,) or (n, k)
    at         which of them are claimed; None for all
    about      what the numbers are, where the quantity does not tell
    places     of an asked of shape (n, k), what the k are, for a sentence
    weight     MVA per unit of the quantity
    """

    rows: Rows
    group: Group
    quantity: Literal["power", "active", "reactive", "current", "voltage"]
    asked: Array
    delivered: Array
    at: Array | None = None
    about: str = ""
    places: tuple[str, ...] = ()
    weight: Array | float = 1.0


class Answered:
    """A network with the numbers that were returned for it.

    voltage   complex bus voltages [pu], shape (n_bus,); 0 without supply
    vm        their magnitudes; 1 in the linearised power flow, whose equations know no other
    vm_dc     voltages of the DC buses [pu]; 0 without supply
    """

    def __init__(
        self, network: Network, topology: Topology, settings: Settings, tables: Tables
    ) -> None:
        self.network = network
        self.topology = topology
        self.settings = settings
        self.tables = tables
        self.linear = settings.linear
        self.vn_kv = network.rows(e.Bus).column("vn_kv")
        self.vn_dc_kv = network.rows(e.DCBus).column("vn_kv")
        self.voltage = self._voltage()
        self.vm = np.abs(self.voltage)
        self.vm_dc = np.where(topology.bus_dc, self.column(e.DCBus, "vm_pu"), 0.0)

    def _voltage(self) -> Array:
        return np.where(self.topology.bus, self.phasor(e.Bus, "vm_pu", "va_degree"), 0)

    def column(self, kind: type[Element], name: str) -> Array:
        """A result column, NaN throughout where the answer has none."""
        found = self.tables.get(kind, {}).get(name)
        return np.full(len(self.network.rows(kind)), np.nan) if found is None else found

    def has(self, kind: type[Element], *names: str) -> bool:
        """Whether the answer has these columns."""
        table = self.tables.get(kind, {})
        return all(name in table for name in names)

    def power(self, kind: type[Element], p: str, q: str | None) -> Array:
        """Complex power of a pair of columns, a part 0 where no column is meant [MVA]."""
        active = self.column(kind, p) if p else 0.0
        reactive = self.column(kind, q) if q and not self.linear else 0.0
        return np.asarray(active + 1j * reactive)

    def phasor(self, kind: type[Element], vm: str, va: str) -> Array:
        """Complex voltage of a pair of columns [pu]."""
        magnitude = 1.0 if self.linear else self.column(kind, vm)
        return np.asarray(magnitude * np.exp(1j * np.deg2rad(self.column(kind, va))))

    def flows(self) -> Found:
        """What flows into the AC branches, and into the lines of DC networks."""
        network, topology, settings = self.network, self.topology, self.settings
        if self.linear:
            angle = np.where(topology.bus, np.deg2rad(self.column(e.Bus, "va_degree")), 0)
            found = linear_flows(network, topology, settings, angle)
        else:
            found = flows(network, topology, settings, self.tables, self.voltage)
        if e.LineDC in network.kinds:
            found[e.LineDC] = dc_flows(network, topology, self.vm_dc)
        return found

    def carrying(self, rows: Rows) -> Array:
        """Which branches carry what their circuit says: those with results; switches by z_ohm."""
        alive = self.topology.alive(rows.kind)
        if rows.kind is e.Switch:
            alive = alive & (rows.at["et"] == "b") & (rows.column("z_ohm") > 0)
        return alive


def supply_claims(answered: Answered) -> Iterator[Claim]:
    """Every bus that is supplied has a voltage."""
    topology, network = answered.topology, answered.network
    voltage = answered.voltage
    yield Claim(network.rows(e.Bus), "node", "voltage", voltage, voltage, topology.bus)
    if len(answered.vm_dc):
        vm = answered.vm_dc
        yield Claim(network.rows(e.DCBus), "node", "voltage", vm, vm, topology.bus_dc)


# -- branches --------------------------------------------------------------------------------------


def branch_claims(answered: Answered, found: Found) -> Iterator[Claim]:
    """Reported powers, losses, currents and voltages of branches beside what their data give."""
    for kind, flow in found.items():
        rows = answered.network.rows(kind)
        alive = answered.carrying(rows)
        reported = np.stack([answered.power(kind, port.p, port.q) for port in kind.ports], axis=1)
        power, told = flow.power_mva, loose(reported, flow)
        places = tuple(f" at its {side} end" for side in sides_of(kind))
        yield Claim(rows, "mismatch", "power", power, told, alive[:, None], places=places)
        if answered.has(kind, "pl_mw"):
            q = "ql_mvar" if answered.has(kind, "ql_mvar") else None
            loss = power.sum(axis=1)
            loss = loss if q else loss.real
            yield Claim(
                rows, "mismatch", "power", loss, answered.power(kind, "pl_mw", q), alive, "loss"
            )
        yield from _current_claims(answered, rows, flow, alive)
        yield from _voltage_claims(answered, rows, flow, alive)


def loose(values: Array, flow: Flows) -> Array:
    """Values at the ends of branches, where a detached end may say nothing."""
    if flow.attached.all():
        return values
    return np.where(flow.attached | ~np.isnan(values), values, 0)


def sides_of(kind: type[Element]) -> list[str]:
    """What columns call the ends of a branch: from, to, hv, …"""
    return [port.p.removeprefix("p_").removesuffix("_mw") for port in kind.ports]


def _current_claims(answered: Answered, rows: Rows, flow: Flows, alive: Array) -> Iterator[Claim]:
    kind = rows.kind
    if answered.linear:
        return
    if kind is e.LineDC:
        mva_per_ka = answered.vn_dc_kv[flow.bus]
        ka = flow.current.real / mva_per_ka
    else:
        mva_per_ka = np.sqrt(3) * answered.vn_kv[flow.bus]
        ka = np.abs(flow.current) / mva_per_ka
    columns = [f"i_{side}_ka" for side in sides_of(kind)]
    if answered.has(kind, *columns):
        reported = np.stack([answered.column(kind, column) for column in columns], axis=1)
        yield Claim(
            rows, "mismatch", "current", ka, loose(reported, flow), alive[:, None],
            places=tuple(f" at its {side} end" for side in sides_of(kind)), weight=mva_per_ka,
        )  # fmt: skip
    if answered.has(kind, "i_ka"):
        reported = answered.column(kind, "i_ka")
        weight = mva_per_ka.max(axis=1)
        yield Claim(rows, "mismatch", "current", ka.max(axis=1), reported, alive, weight=weight)


def _voltage_claims(answered: Answered, rows: Rows, flow: Flows, alive: Array) -> Iterator[Claim]:
    kind, sides = rows.kind, sides_of(rows.kind)
    if answered.has(kind, f"va_{sides[0]}_degree"):
        phasors = [answered.phasor(kind, f"vm_{side}_pu", f"va_{side}_degree") for side in sides]
    elif answered.has(kind, f"vm_{sides[0]}_pu") and not answered.linear:
        phasors = [answered.column(kind, f"vm_{side}_pu") for side in sides]
    else:
        return
    reported = np.stack(phasors, axis=1)
    at = alive[:, None] & (flow.attached | ~np.isnan(reported))
    places = tuple(f" at its {side} end" for side in sides)
    yield Claim(rows, "mismatch", "voltage", flow.voltage_pu, reported, at, places=places)
    if flow.star_pu is not None and answered.has(kind, "va_internal_degree"):
        star = answered.phasor(kind, "vm_internal_pu", "va_internal_degree")
        yield Claim(rows, "mismatch", "voltage", flow.star_pu, star, alive, "star")


# -- switches --------------------------------------------------------------------------------------


def switch_claims(answered: Answered, found: Found) -> Iterator[Claim]:
    """A switch at a branch reports what enters the branch there; what enters a switch leaves it."""
    rows = answered.network.rows(e.Switch)
    if not len(rows) or not answered.has(e.Switch, "p_from_mw"):
        return
    enters = answered.power(e.Switch, "p_from_mw", "q_from_mvar")
    leaves = -answered.power(e.Switch, "p_to_mw", "q_to_mvar")
    told = ~np.isnan(enters)
    lossless = told & ~answered.carrying(rows)
    yield Claim(rows, "mismatch", "power", enters, leaves, lossless)
    asked = enters.copy()
    for et, kind in _AT_BRANCH.items():
        here = np.flatnonzero((rows.at["et"] == et) & told)
        if len(here):
            flow, element = found[kind], rows.at["element"][here]
            at_bus = flow.bus[element] == rows.at["bus"][here][:, None]
            asked[here] = np.where(at_bus, flow.power_mva[element], 0).sum(axis=1)
    yield Claim(rows, "mismatch", "power", asked, enters, lossless)
    if answered.has(e.Switch, "i_ka") and not answered.linear:
        bus = rows.at["bus"]
        mva_per_ka = np.sqrt(3) * answered.vn_kv[bus]
        ka = np.abs(asked) / answered.vm[bus] / mva_per_ka
        reported = answered.column(e.Switch, "i_ka")
        yield Claim(rows, "mismatch", "current", ka, reported, lossless, weight=mva_per_ka)


_AT_BRANCH: dict[str, type[Element]] = {
    "l": e.Line,
    "t": e.Transformer,
    "t3": e.ThreeWindingTransformer,
}


# -- buses -----------------------------------------------------------------------------------------


def bus_claims(answered: Answered) -> Iterator[Claim]:
    """One voltage per node, wherever it is reported."""
    network, topology = answered.network, answered.topology
    buses = network.rows(e.Bus)
    first = np.unique(topology.node, return_index=True)[1]
    if len(first) < len(buses):
        first = first[topology.node]
        there = answered.voltage[first] * (answered.vn_kv[first] / answered.vn_kv)
        yield Claim(buses, "mismatch", "voltage", there, answered.voltage, topology.bus)
    for kind in network.kinds:
        rows = network.rows(kind)
        if "bus" not in rows.at or not answered.has(kind, "vm_pu") or answered.linear:
            continue
        here = answered.voltage[rows.at["bus"]]
        if answered.has(kind, "va_degree"):
            reported = answered.phasor(kind, "vm_pu", "va_degree")
        else:
            here, reported = np.abs(here), answered.column(kind, "vm_pu")
        yield Claim(rows, "mismatch", "voltage", here, reported, topology.alive(kind))
