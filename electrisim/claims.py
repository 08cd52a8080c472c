"""What an answer claims and what it ought to say, ready to be compared.

A claim puts delivered numbers beside asked ones. Here are those between the answer's own numbers:
that powers, losses, currents and voltages fit each other and the graph's data. What the elements'
set-points ask for is in `electrisim.laws`, three unequal phases in `electrisim.phases`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
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
Quantity = Literal["power", "active", "reactive", "current", "voltage", "angle"]


class Claim(NamedTuple):
    """Delivered beside asked, element by element.

    quantity   power [MVA, complex], active [MW], reactive [Mvar], current [kA],
               voltage [pu, complex or magnitude], angle of a voltage [degree]
    group      mismatch: of an element's numbers with its data; setpoint: with what was asked of it;
               node: of a bus's numbers with those of the elements there
    asked, delivered  shape (n,) or (k, n)
    at         which of them are claimed; None for all
    about      what the numbers are, where the quantity does not tell
    places     of an asked of shape (k, n), what the k are, for a sentence
    weight     MVA per unit of the quantity; None for 1
    """

    rows: Rows
    group: Group
    quantity: Quantity
    asked: Array
    delivered: Array
    at: Array | None = None
    about: str = ""
    places: tuple[str, ...] = ()
    weight: Array | None = None


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
        self._powers: dict[tuple[type[Element], str, str | None], Array] = {}
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
        found = self._powers.get((kind, p, q))
        if found is None:
            active = self.column(kind, p) if p else 0.0
            reactive = self.column(kind, q) if q and not self.linear else 0.0
            found = self._powers[kind, p, q] = np.asarray(active + 1j * reactive)
        return found

    def phasor(self, kind: type[Element], vm: str, va: str) -> Array:
        """Complex voltage of a pair of columns [pu]."""
        return np.asarray(self.phasors(kind, [vm], [va])[0])

    def phasors(self, kind: type[Element], vm: Sequence[str], va: Sequence[str]) -> Array:
        """Complex voltages of pairs of columns [pu], shape (pairs, n)."""
        angle = np.array([self.column(kind, name) for name in va]) * (np.pi / 180)
        if self.linear:
            return np.asarray(np.exp(1j * angle))
        magnitude = np.array([self.column(kind, name) for name in vm])
        return np.asarray(magnitude * np.exp(1j * angle))

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
    if not np.isfinite(answered.voltage).all():
        voltage = answered.voltage
        yield Claim(network.rows(e.Bus), "node", "voltage", voltage, voltage, topology.bus)
    if not np.isfinite(answered.vm_dc).all():
        vm = answered.vm_dc
        yield Claim(network.rows(e.DCBus), "node", "voltage", vm, vm, topology.bus_dc)


# -- branches --------------------------------------------------------------------------------------


def branch_claims(answered: Answered, found: Found) -> Iterator[Claim]:
    """Reported powers, losses, currents and voltages of branches beside what their data give."""
    for kind, flow in found.items():
        rows = answered.network.rows(kind)
        alive = answered.carrying(rows)
        yield from _power_claims(answered, rows, flow, alive)
        if not answered.linear:
            yield from _current_claims(answered, rows, flow, alive)
        yield from _voltage_claims(answered, rows, flow, alive)


def _loose(values: Array, flow: Flows) -> Array:
    """Values at the ends of branches, where a detached end may say nothing."""
    if flow.attached.all():
        return values
    return np.where(flow.attached | ~np.isnan(values), values, 0)


@functools.cache
def sides_of(kind: type[Element]) -> tuple[str, ...]:
    """What columns call the ends of a branch: from, to, hv, …"""
    return tuple(port.p.removeprefix("p_").removesuffix("_mw") for port in kind.ports)


@functools.cache
def places_of(kind: type[Element], *more: str) -> tuple[str, ...]:
    return (*(f" at its {side} end" for side in sides_of(kind)), *more)


def _power_claims(answered: Answered, rows: Rows, flow: Flows, alive: Array) -> Iterator[Claim]:
    """Powers at the ports, and their sum as losses."""
    kind = rows.kind
    parts: list[tuple[Quantity, str, list[str], Array]] = [
        ("active", "pl_mw", [port.p for port in kind.ports], flow.power_mva.real)
    ]
    if not answered.linear and kind.ports[0].q:
        q = [port.q or "" for port in kind.ports]
        parts.append(("reactive", "ql_mvar", q, flow.power_mva.imag))
    for quantity, loss, columns, power in parts:
        told = _loose(np.array([answered.column(kind, name) for name in columns]), flow)
        if answered.has(kind, loss):
            told = np.array([*told, answered.column(kind, loss)])
            power = np.array([*power, power.sum(axis=0)])
        places = places_of(kind, " as its loss")
        yield Claim(rows, "mismatch", quantity, power, told, alive, places=places)


def _current_claims(answered: Answered, rows: Rows, flow: Flows, alive: Array) -> Iterator[Claim]:
    """Currents at the ports, and the largest of them."""
    kind = rows.kind
    if kind is e.LineDC:
        mva_per_ka = answered.vn_dc_kv[flow.bus]
        ka = flow.current / mva_per_ka
    else:
        mva_per_ka = np.sqrt(3) * answered.vn_kv[flow.bus]
        ka = np.abs(flow.current) / mva_per_ka
    columns = [f"i_{side}_ka" for side in sides_of(kind)]
    if answered.has(kind, *columns):
        told = _loose(np.array([answered.column(kind, column) for column in columns]), flow)
        yield Claim(rows, "mismatch", "current", ka, told, alive, "", places_of(kind), mva_per_ka)
    if answered.has(kind, "i_ka"):
        told = answered.column(kind, "i_ka")
        largest, weight = np.maximum(*ka), np.maximum(*mva_per_ka)
        yield Claim(rows, "mismatch", "current", largest, told, alive, weight=weight)


def _voltage_claims(answered: Answered, rows: Rows, flow: Flows, alive: Array) -> Iterator[Claim]:
    kind = rows.kind
    bus = e.DCBus if kind is e.LineDC else e.Bus
    vm = [f"vm_{side}_pu" for side in sides_of(kind)]
    va = [f"va_{side}_degree" for side in sides_of(kind)]
    attached = flow.attached.all()
    if answered.has(kind, *vm) and not answered.linear:
        here = answered.column(bus, "vm_pu")[flow.bus] if attached else np.abs(flow.voltage_pu)
        yield _copies(answered, rows, "voltage", vm, here, flow, alive)
    if answered.has(kind, *va):
        if attached:
            here = answered.column(bus, "va_degree")[flow.bus]
        else:
            here = np.angle(flow.voltage_pu, deg=True)
        yield _copies(answered, rows, "angle", va, here, flow, alive)
    if flow.star_pu is not None and answered.has(kind, "va_internal_degree"):
        star = answered.phasor(kind, "vm_internal_pu", "va_internal_degree")
        yield Claim(rows, "mismatch", "voltage", flow.star_pu, star, alive, "star")


def _copies(
    answered: Answered,
    rows: Rows,
    quantity: Quantity,
    columns: list[str],
    here: Array,
    flow: Flows,
    alive: Array,
) -> Claim:
    """Magnitudes or angles of the ends of branches beside what they are."""
    told = np.array([answered.column(rows.kind, name) for name in columns])
    at = alive if flow.attached.all() else alive & (flow.attached | ~np.isnan(told))
    return Claim(rows, "mismatch", quantity, here, told, at, places=places_of(rows.kind))


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
            at_bus = flow.bus[:, element] == rows.at["bus"][here]
            asked[here] = np.where(at_bus, flow.power_mva[:, element], 0).sum(axis=0)
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
    if topology.node.max() + 1 < len(buses):
        first = np.unique(topology.node, return_index=True)[1][topology.node]
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
