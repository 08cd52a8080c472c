"""What the doctor works with: suspects, repairs, and the facts of the network that failed."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from electrisim import elements as e
from electrisim.doctor.equations import Equations, Owner, can_write, drawn
from electrisim.doctor.newton import Direction, Newton, Nose, nose, singular_direction
from electrisim.elements import FIELDS, Element
from electrisim.network import Array, Network, Rows
from electrisim.problems import ProblemError
from electrisim.settings import Settings
from electrisim.topology import Topology

#: Voltages of a state that is worth having [pu], and the most that a branch holds between its ends.
HEALTHY_PU, HEALTHY_STRESS = (0.7, 1.25), 0.4


#: Kinds that draw with the square of the voltage, loaded or not.
ADMITTANCES = (e.Shunt, e.ShuntReactor, e.Capacitor, e.Ward, e.ExtendedWard)


class Edit(NamedTuple):
    """One field set to a value; of a setting where there is no element."""

    element: str | None
    field: str
    value: Any


class Repair(NamedTuple):
    """Fields that are changed together, and what mistake that would undo."""

    edits: tuple[Edit, ...]
    why: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """The same for the same edits."""
        return tuple(sorted(map(repr, self.edits)))


class Outcome(NamedTuple):
    """What a repair makes of the network by our own equations.

    healthy  whether the solution has voltages and angles that one would want
    lowest, highest  its voltages [pu]
    """

    solved: bool
    healthy: bool = False
    lowest: float = float("nan")
    highest: float = float("nan")


FAILED = Outcome(False)


class Suspect(NamedTuple):
    """What may be the cause.

    rule      its key in `electrisim.doctor.RULES`
    elements  ids
    cause     one sentence
    evidence  numbers
    score     how far from what is usual, in decades
    repairs   what may cure it, the likeliest first
    """

    rule: str
    elements: tuple[str, ...]
    cause: str
    evidence: Mapping[str, Any]
    score: float
    repairs: tuple[Repair, ...] = ()
    advice: str = ""


class Case:
    """A network without solution, what is known of it, and what may be tried with it.

    deadline_s  on the monotonic clock; nothing is begun after it
    """

    def __init__(self, network: Network, settings: Settings, deadline_s: float) -> None:
        self.network = network
        self.settings = settings
        self.deadline_s = deadline_s
        self.topology = Topology(network)
        self._tried: dict[Any, Outcome] = {}

    @property
    def late(self) -> bool:
        return time.monotonic() >= self.deadline_s

    # -- the network's own equations

    @functools.cached_property
    def newton(self) -> Newton | None:
        """Its equations; None where they leave something out or have no number."""
        return _newton(self.network, self.topology, self.settings)

    @functools.cached_property
    def nose(self) -> Nose | None:
        """The last solvable point; None where there are no equations."""
        return None if self.newton is None else nose(self.newton, self.deadline_s)

    @functools.cached_property
    def direction(self) -> Direction | None:
        if self.newton is None or self.nose is None or self.nose.load is None:
            return None
        return singular_direction(self.newton, self.nose.voltage, self.nose.load)

    @functools.cached_property
    def ill_at_rest(self) -> bool:
        """Whether the network is in a bad state even with nothing drawn and nothing generated."""
        if self.newton is None or self.nose is None:
            return False
        return self.nose.load is None or not _good(self.newton.equations, self.nose.at_rest)[0]

    @functools.cached_property
    def stress(self) -> Mapping[Owner, float]:
        """Per branch, what it holds between its ends at the last solvable point [pu]."""
        if self.newton is None or self.nose is None:
            return {}
        at = self.nose.at_rest if self.ill_at_rest else self.nose.voltage
        return _stress(self.newton.equations, at)

    def takes_part(self, kind: type[Element]) -> Array:
        """How much the power of each of a kind drives the collapse, the most 1, shape (n,)."""
        found = self._driving.get(kind)
        return np.zeros(len(self.network.rows(kind))) if found is None else found

    @functools.cached_property
    def _driving(self) -> Mapping[type[Element], Array]:
        """The left singular vector times the powers: what pushes the network over the edge."""
        if self.direction is None or self.newton is None:
            return {}
        found = {}
        for kind, power in self._powers.items():
            at = self.newton.equations.of_bus[self.network.rows(kind).at["bus"]]
            by = power.real * self.direction.p[at] + power.imag * self.direction.q[at]
            found[kind] = np.maximum(np.where(self.topology.alive(kind), by, 0.0), 0.0)
        largest = max((by.max(initial=0.0) for by in found.values()), default=0.0)
        return {kind: by / largest for kind, by in found.items()} if largest > 0 else {}

    def power_mva(self, kind: type[Element]) -> Array:
        """What elements of a kind draw at 1 pu, shape (n,) [MVA]."""
        return self._powers.get(kind, np.zeros(len(self.network.rows(kind)), dtype=complex))

    @functools.cached_property
    def drawn_mva(self) -> float:
        """What all consumers ask for, admittances apart, added up."""
        return sum(
            float(np.abs(power[self.topology.alive(kind)]).sum())
            for kind, power in self._powers.items()
            if kind not in ADMITTANCES and kind.ports[0].sign > 0
        )

    @functools.cached_property
    def _powers(self) -> Mapping[type[Element], Array]:
        found = {kind: power.sum(axis=0) for kind, _, power in drawn(self.network, self.settings)}
        generators = self.network.rows(e.Generator)
        if len(generators):
            p = generators.column("p_mw") * generators.column("scaling")
            found[e.Generator] = -p.astype(complex)
        return found

    def kv(self, rows: Rows, field: str) -> Array:
        return self.network.rows(e.Bus).column("vn_kv")[rows.at[field]]

    # -- trying

    def attempt(self, repair: Repair) -> Outcome:
        """What our own equations say of the repaired network; FAILED after the deadline too."""
        key = repair.key
        if key not in self._tried:
            if self.late:
                return FAILED
            self._tried[key] = self._attempt(repair)
        return self._tried[key]

    def _attempt(self, repair: Repair) -> Outcome:
        try:
            network, settings = repaired(self.network, self.settings, repair)
        except ProblemError:
            return FAILED
        newton = _newton(network, Topology(network), settings)
        return FAILED if newton is None else outcome(newton)


def outcome(newton: Newton) -> Outcome:
    """Whether equations have a solution, and whether it is one that one would want."""
    state = newton.solve()
    if not state.solved:
        return FAILED
    return Outcome(True, *_good(newton.equations, state.voltage))


def _good(equations: Equations, voltage: Array) -> tuple[bool, float, float]:
    """Whether voltages and angles are what one would want; the lowest and the highest [pu]."""
    vm = np.abs(voltage)
    lowest, highest = float(vm.min(initial=1.0)), float(vm.max(initial=1.0))
    calm = max(_stress(equations, voltage).values(), default=0.0) <= HEALTHY_STRESS
    within = lowest >= HEALTHY_PU[0] and highest <= HEALTHY_PU[1]
    return calm and within, lowest, highest


def _newton(network: Network, topology: Topology, settings: Settings) -> Newton | None:
    if not can_write(network):
        return None
    with np.errstate(all="ignore"):
        equations = Equations(network, topology, settings)
    finite = np.isfinite(equations.y.data).all() and np.isfinite(equations.constant).all()
    if not (finite and np.isfinite(equations.linear).all() and equations.reference.any()):
        return None
    return Newton(equations)


def _stress(equations: Equations, voltage: Array) -> dict[Owner, float]:
    branch = equations.branch
    held = np.abs(voltage[branch.f] / branch.ratio - voltage[branch.t])
    found: dict[Owner, float] = {}
    for owner, value in zip(branch.owner, held.tolist(), strict=True):
        found[owner] = max(found.get(owner, 0.0), value)
    return found


def repaired(network: Network, settings: Settings, repair: Repair) -> tuple[Network, Settings]:
    """The network and settings with the edits made and checked; raises ProblemError."""
    by_id: dict[str, dict[str, Any]] = {}
    chosen: dict[str, Any] = {}
    for edit in repair.edits:
        if edit.element is None:
            chosen[edit.field] = edit.value
        else:
            by_id.setdefault(edit.element, {})[edit.field] = edit.value
    if chosen:
        settings = msgspec.structs.replace(settings, **chosen)
    if not by_id:
        return network, settings
    refers = any(
        FIELDS[network.ids[id_][0]][field].refers_to for id_, f in by_id.items() for field in f
    )
    if not refers:
        edits: dict[type[Element], dict[int, dict[str, Any]]] = {}
        for id_, fields in by_id.items():
            kind, row = network.ids[id_]
            edits.setdefault(kind, {})[row] = fields
        return network.changed(edits), settings
    return Network(_entries(network, by_id), network.frequency_hz), settings


def _entries(
    network: Network, by_id: Mapping[str, Mapping[str, Any]]
) -> Iterable[tuple[str, str | None, Element]]:
    for id_ in network.order:
        kind, row = network.ids[id_]
        rows = network.rows(kind)
        element = rows.elements[row]
        if id_ in by_id:
            element = msgspec.structs.replace(element, **by_id[id_])
        yield id_, rows.names[row], element
