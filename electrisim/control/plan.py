"""The controllers of a network: what each looks at, when it is content, and what it does else.

Those that move in steps (tap changers, shunts) are `Stepping`; those that settle anywhere are
variables of one system of equations, with one residual each.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from electrisim import elements as e
from electrisim import phasing
from electrisim.change import changed
from electrisim.claims import Answered
from electrisim.control.droops import Droops
from electrisim.elements import Element
from electrisim.network import Array, Network, Rows
from electrisim.phases import Phased
from electrisim.topology import Topology

#: How near a continuous tap changer comes to its voltage, and what a discrete one that aims at a
#: voltage adds to half a step on either side, where no `tol` is given [pu]. The second is
#: pandapower's.
TOL_CONTINUOUS, TOL_DISCRETE = 1e-6, 1e-3
#: A voltage is in a band if it is out of it by no more than this [pu].
EDGE_PU = 1e-9
SHUNTS = (e.Shunt, e.ShuntReactor, e.Capacitor)
TRANSFORMERS = (e.Transformer, e.ThreeWindingTransformer)
INVERTERS = (e.StaticGenerator, e.Storage, e.PVSystem)
MACHINES = (e.ExternalGrid, e.Generator)


class Place(NamedTuple):
    """The field of an element that a controller moves."""

    kind: type[Element]
    row: int
    field: str


#: What controllers have moved, and to where.
Values = Mapping[Place, float]


def with_values(network: Network, values: Values) -> Network:
    """The network with the fields that controllers have moved."""
    edits: dict[type[Element], dict[int, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for place, value in values.items():
        edits[place.kind][place.row][place.field] = value
    return changed(network, edits)


class Stepping(Protocol):
    """A controller that moves in steps.

    place     what it moves
    position  where that stands in the network as it is given
    kind      how a record calls it
    """

    place: Place
    position: float
    kind: str

    def step(self, answered: Answered, position: float) -> float:
        """How far it wants to move, whatever its limits [steps]."""
        ...

    def within(self, position: float) -> float:
        """The nearest position that it has."""
        ...

    def off(self, answered: Answered, position: float) -> float:
        """How far it is from where it is content; 0 there."""
        ...

    def told(self, answered: Answered) -> dict[str, Any]:
        """What a record says of its target."""
        ...


class Tap:
    """A tap changer that holds a voltage.

    bus       whose voltage it controls
    low, high the band in which it is content [pu]
    target    the voltage that it aims at, None for a band [pu]
    slope     change of that voltage per position, as of a transformer that is fed from above;
              another where a solved network tells [pu]
    """

    def __init__(self, rows: Rows, row: int) -> None:
        element: Any = rows.elements[row]
        self.place = Place(rows.kind, row, "tap_pos")
        self.kind = f"tap_control_{element.tap_control}"
        self.tap_side: str = element.tap_side
        self.neutral = float(element.tap_neutral or 0.0)
        self.position = self.neutral if element.tap_pos is None else float(element.tap_pos)
        self.lowest, self.highest = float(element.tap_min), float(element.tap_max)
        self.bus = int(rows.at[f"{element.control_side}_bus"][row])
        self.is_discrete = element.tap_control == "discrete"
        self.signed_step_pu = element.tap_step_percent / 100
        self.step_pu = abs(self.signed_step_pu)
        self.target = element.vm_set_pu
        if element.vm_set_pu is None:
            self.low, self.high = element.vm_lower_pu, element.vm_upper_pu
        else:
            spare = element.tol or (TOL_DISCRETE if self.is_discrete else TOL_CONTINUOUS)
            half = self.step_pu / 2 + spare if self.is_discrete else spare
            self.low, self.high = self.target - half, self.target + half
        self._rows, self._port = rows, 0 if element.control_side == "hv" else 1
        parts = (getattr(element, f"line_drop_{part}_ohm", None) or 0.0 for part in "rx")
        self.line_drop_ohm = complex(*parts)
        self.delay_s = float(getattr(element, "control_delay_s", 15.0))
        same_side = element.control_side == element.tap_side
        self.slope = self.signed_step_pu if same_side else -self.signed_step_pu

    @property
    def watched(self) -> str:
        """What it lies between where phases are unequal: of three, the first stands for all."""
        word = phasing.words(self._rows, self._port)[self.place.row]
        if word != phasing.ALL:
            return word
        group = re.match("(YN|Y|D)(yn|y|d)", self._rows.elements[self.place.row].vector_group or "")
        is_delta = group is not None and group[self._port + 1] in "Dd"
        return "ab" if is_delta else "a"

    def seen(self, answered: Answered) -> float:
        """The voltage that it looks at, behind the drop of its line [pu]."""
        if not isinstance(answered, Phased):
            return float(answered.vm[self.bus])
        first, *other = phasing.numbers(self.watched)
        kv = answered.kilovolts(np.array([self.bus]))[0]
        across = kv[first] - (kv[other[0]] if other else 0)
        kind = self.place.kind
        power = answered.by_phase(kind, kind.ports[self._port])[first, self.place.row]
        delivered_ka = -np.conj(power / kv[first]) if kv[first] else 0
        nominal = answered.vn_kv[self.bus] * phasing.across(self.watched)
        return float(abs(across - self.line_drop_ohm * delivered_ka) / nominal)

    def step(self, answered: Answered, position: float) -> float:
        vm = self.seen(answered)
        if self.low - EDGE_PU <= vm <= self.high + EDGE_PU or not self.acts:
            return 0.0
        return math.copysign(1.0, self.slope if vm < self.low else -self.slope)

    @property
    def acts(self) -> bool:
        """Whether its steps move the voltage: by more than a thousandth of what they are."""
        return bool(abs(self.slope) > 1e-3 * self.step_pu)

    def within(self, position: float) -> float:
        return min(max(position, self.lowest), self.highest)

    def off(self, answered: Answered, position: float) -> float:
        vm = self.seen(answered)
        return float(max(self.low - vm, vm - self.high, 0.0))

    def told(self, answered: Answered) -> dict[str, Any]:
        target = {"vm_set_pu": self.target} if self.target is not None else {}
        return {
            "vm_pu": self.seen(answered),
            **target,
            "vm_lower_pu": self.low,
            "vm_upper_pu": self.high,
        }


class VoltageSteps:
    """A shunt whose steps hold a voltage."""

    kind = "step_control_voltage"

    def __init__(self, rows: Rows, row: int) -> None:
        element: Any = rows.elements[row]
        self.place = Place(rows.kind, row, "step")
        self.position = float(element.step)
        self.most = float(element.max_step)
        self.increment = element.step_increment
        observed = int(rows.at["reference"][row])
        self.bus = observed if observed >= 0 else int(rows.at["bus"][row])
        self.target, self.tol = element.vm_set_pu, element.vm_tol_pu
        #: A reactor lowers the voltage with every step, a capacitor raises it.
        self.raises = -1.0 if element.q_mvar > 0 else 1.0

    def step(self, answered: Answered, position: float) -> float:
        missing = self.target - float(answered.vm[self.bus])
        if abs(missing) <= self.tol + EDGE_PU:
            return 0.0
        return math.copysign(self.increment, missing * self.raises)

    def within(self, position: float) -> float:
        return min(max(position, 0.0), self.most)

    def off(self, answered: Answered, position: float) -> float:
        return float(max(abs(self.target - float(answered.vm[self.bus])) - self.tol, 0.0))

    def told(self, answered: Answered) -> dict[str, Any]:
        return {
            "vm_pu": float(answered.vm[self.bus]),
            "vm_set_pu": self.target,
            "vm_lower_pu": self.target - self.tol,
            "vm_upper_pu": self.target + self.tol,
        }


class FlowSteps:
    """A shunt whose steps follow the active power of a line."""

    kind = "step_control_line_flow"

    def __init__(self, rows: Rows, row: int) -> None:
        element: Any = rows.elements[row]
        self.place = Place(rows.kind, row, "step")
        self.position = float(element.step)
        self.line = int(rows.at["reference"][row])
        self.column = element.reference_column
        self.absolute = element.reference_absolute
        self.table = element.step_table

    def power_mw(self, answered: Answered) -> float:
        power = float(answered.column(e.Line, self.column)[self.line])
        power = 0.0 if math.isnan(power) else power
        return abs(power) if self.absolute else power

    def wanted(self, answered: Answered) -> float:
        power = self.power_mw(answered)
        reached = [step for start, step in self.table if power >= start]
        return float(reached[-1] if reached else self.table[0][1])

    def step(self, answered: Answered, position: float) -> float:
        return self.wanted(answered) - position

    def within(self, position: float) -> float:
        return position

    def off(self, answered: Answered, position: float) -> float:
        return abs(self.wanted(answered) - position)

    def told(self, answered: Answered) -> dict[str, Any]:
        lines = answered.network.rows(e.Line)
        return {
            "line": lines.ids[self.line],
            "line_p_mw": self.power_mw(answered),
            "line_p_column": self.column,
        }


class Station(NamedTuple):
    """Machines that hold a voltage together and share the reactive power.

    name     as its machines call it
    members  (kind, row), in the request's order
    bus      whose voltage they hold
    target   that voltage [pu]
    shares   of the reactive power, their sum 1
    """

    name: str
    members: tuple[tuple[type[Element], int], ...]
    bus: int
    target: float
    shares: Array


class Fleet(NamedTuple):
    """Storages that shave the peak of a line together.

    line    whose power they look at
    target  the most that it should carry [MW]
    rows    of the storages
    shares  of what they discharge, their sum 1
    most    that each can discharge; 0 where it is empty [MW]
    """

    line: int
    target: float
    rows: tuple[int, ...]
    shares: Array
    most: Array

    def places(self) -> list[Place]:
        return [Place(e.Storage, row, "p_mw") for row in self.rows]

    def discharged_mw(self, level: float) -> Array:
        """What each discharges where all together would, without limits, discharge this."""
        return np.asarray(np.minimum(level * self.shares, self.most))

    def flow_mw(self, answered: Answered) -> float:
        power = float(answered.column(e.Line, "p_from_mw")[self.line])
        return 0.0 if math.isnan(power) else power

    def tolerance_mw(self) -> float:
        """How near to its target a line comes."""
        return 1e-6 * max(self.target, 1.0)


class Plan:
    """The controllers of a network that are supplied and can act.

    taps      tap changers, discrete and continuous
    steps     shunts
    droops    inverters, by kind
    stations  of machines
    fleets    of storages
    """

    def __init__(self, network: Network, topology: Topology) -> None:
        self.network = network
        self.topology = topology
        self.taps = list(self._taps())
        self.steps = list(self._steps())
        self.droops = [droops for kind in INVERTERS for droops in self._droops(kind)]
        self.stations = list(self._stations())
        self.fleets = list(self._fleets())

    def _under(self, kind: type[Element], *fields: str) -> Iterator[int]:
        """The living elements of a kind of which one of these fields asks for control."""
        rows, alive = self.network.rows(kind), self.topology.alive(kind)
        values = [rows.values(field) for field in fields] if len(rows) else []
        for row, asked in enumerate(zip(*values, strict=True)):
            if alive[row] and any(value is not None for value in asked):
                yield row

    def _taps(self) -> Iterator[Tap]:
        for kind in TRANSFORMERS:
            for row in self._under(kind, "tap_control"):
                tap = Tap(self.network.rows(kind), row)
                if self.topology.bus[tap.bus]:
                    yield tap

    def _steps(self) -> Iterator[VoltageSteps | FlowSteps]:
        for kind in SHUNTS:
            rows = self.network.rows(kind)
            for row in self._under(kind, "step_control"):
                if rows.elements[row].step_control == "line_flow":
                    yield FlowSteps(rows, row)
                    continue
                steps = VoltageSteps(rows, row)
                if self.topology.bus[steps.bus]:
                    yield steps

    def _droops(self, kind: type[Element]) -> Iterator[Droops]:
        rows = self.network.rows(kind)
        at = [
            row
            for row in self._under(kind, "q_control", "pv_curve")
            if kind is e.PVSystem or rows.elements[row].scaling
        ]
        if at:
            yield Droops(rows, np.array(at))

    def _stations(self) -> Iterator[Station]:
        found: dict[str, list[tuple[type[Element], int]]] = {}
        for kind in MACHINES:
            for row in self._under(kind, "station_control"):
                name = self.network.rows(kind).elements[row].station_control
                found.setdefault(name, []).append((kind, row))
        for name, members in found.items():
            elements: list[Any] = [self.network.rows(k).elements[r] for k, r in members]
            bus = int(self.network.rows(members[0][0]).at["reference"][members[0][1]])
            shares = np.array([element.q_share for element in elements])
            if self.topology.bus[bus]:
                target = elements[0].vm_set_pu
                yield Station(name, tuple(members), bus, target, shares / shares.sum())

    def _fleets(self) -> Iterator[Fleet]:
        rows, lines = self.network.rows(e.Storage), self.topology.alive(e.Line)
        found: dict[int, list[int]] = {}
        for row in self._under(e.Storage, "p_control"):
            line = int(rows.at["reference"][row])
            if rows.elements[row].scaling and lines[line]:
                found.setdefault(line, []).append(row)
        for line, members in found.items():
            elements: list[Any] = [rows.elements[row] for row in members]
            shares = np.array([element.p_share for element in elements])
            most = np.array([0.0 if _is_empty(each) else each.sn_mva for each in elements])
            target = elements[0].p_target_mw
            yield Fleet(line, target, tuple(members), shares / shares.sum(), most)


def _is_empty(storage: Any) -> bool:
    """Whether it is known to hold no more than what it must keep."""
    if storage.soc_percent is None or storage.max_e_mwh is None:
        return False
    return bool(storage.soc_percent / 100 * storage.max_e_mwh <= storage.min_e_mwh)


#: A controller's element: its kind and row.
Owner = tuple[type[Element], int]
#: Kind → the fields that ask for control.
CONTROLS: Mapping[type[Element], tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(TRANSFORMERS, ("tap_control",)),
        **dict.fromkeys(SHUNTS, ("step_control",)),
        **dict.fromkeys(INVERTERS, ("q_control", "pv_curve")),
        e.Storage: ("q_control", "pv_curve", "p_control"),
        **dict.fromkeys(MACHINES, ("station_control",)),
    }
)


def controllers(network: Network) -> list[Owner]:
    """Every element that has a controller, whether it can act or not, in the request's order."""
    found = []
    for kind, fields in CONTROLS.items():
        rows = network.rows(kind)
        values = [rows.values(field) for field in fields]
        if any(column.count(None) < len(column) for column in values):
            found += [
                (kind, row)
                for row, asked in enumerate(zip(*values, strict=True))
                if any(value is not None for value in asked)
            ]
    if not found:
        return []
    place = {id_: at for at, id_ in enumerate(network.order)}
    return sorted(found, key=lambda owner: place[network.rows(owner[0]).ids[owner[1]]])


def kind_of(element: Any) -> str:
    """How a record calls an element's controller."""
    for field in ("tap_control", "step_control", "q_control", "p_control"):
        value = getattr(element, field, None)
        if value is not None:
            return f"{field}_{value}"
    return "station_control" if isinstance(element, MACHINES) else "pv_curve"
