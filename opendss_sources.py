"""Whatever holds a voltage: external grids, generators, DC links, the inside of extended wards.

OpenDSS' own voltage-controlled generator does not converge on meshed networks. Here each node whose
voltage is held gets one stiff voltage source. Newton's method turns its angle until its active
power is the one asked for, and its magnitude makes up for what its own reactance drops. The engine
solves the network at every step; computed here is only where to turn next, from the Jacobian of the
network at the state that the engine found.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from scipy.sparse import csr_matrix

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.network import Array, Rows
from electrisim.phasing import ALL
from electrisim.problems import NotConvergedError
from opendss_angles import admittance, linear_angles, load_admittance, newton_step
from opendss_circuit import Circuit, Some
from opendss_elements import ALWAYS, two_ports
from opendss_phases import WYE, of_few_phases

#: Reactance behind a held voltage [pu of 100 MVA]. Small, yet so far above the rounding of doubles
#: that the engine's own figure of the power through it is good to 1e-8 MVA. Its drop is made up for
#: in the positive sequence only: where there are others, it is smaller.
STIFFNESS, STIFFNESS_IN_PHASES = 1e-5, 1e-6
#: A generator leaves the negative and the zero sequence alone: its reactance there is so many times
#: that of the positive one, which is no longer small, for the engine's sequences are rounded to
#: seven digits.
MACHINE, OPEN = 1e-3, 1e7
#: Reactive power that a generator without limits can give [Mvar]: pandapower's figure, which
#: decides how generators at one node share.
UNLIMITED_MVAR = 1e9
#: How near the active powers come while loads are still impedances, of the largest one [1].
ROUGHLY = 1e-3
#: How near a held voltage must come to its set-point [pu].
CLOSE_PU = 1e-10
#: Steps of the angles, halvings of a step, and nodes that change what they hold.
MOST_STEPS, MOST_HALVINGS, MOST_CHANGES = 40, 6, 60
#: How often a node that gave up its voltage may take it up again.
MOST_RETURNS = 3


class Solver(Protocol):
    """What turning angles needs of the engine."""

    def solve(self) -> bool:
        """Solve from the last state; whether the engine converged, and on numbers."""
        ...

    def voltages(self) -> Array:
        """Positive-sequence voltages of the circuit's nodes, line to line [kV]; NaN without."""
        ...

    def delivered(self, elements: Sequence[str]) -> Array:
        """What elements deliver, all phases together [MVA]."""
        ...

    def run(self, commands: Sequence[str]) -> None:
        """Change the circuit."""
        ...

    def set_sources(self, names: Sequence[str], pu: Array, degree: Array) -> None:
        """Set voltage sources without building matrices again."""
        ...


class Claim(NamedTuple):
    """What the elements of one kind ask of nodes whose voltage they hold, one entry each.

    port           of the kind
    va_degree      the angle held; NaN where the active power is held instead
    p_mw           active power delivered
    q_min, q_max   reactive limits [Mvar]
    weight         share in what a node with a held angle balances
    """

    kind: type[Element]
    port: int
    row: Array
    node: Array
    vm_pu: Array
    va_degree: Array
    p_mw: Array
    q_min: Array
    q_max: Array
    weight: Array


def claims(circuit: Circuit) -> Iterator[Claim]:
    """What everything that holds a voltage asks for."""
    some = circuit.some(e.ExternalGrid)
    some = some.some(~of_few_phases(some))
    if len(some) and not circuit.settings.source_impedance:
        none = np.zeros(len(some))
        yield Claim(
            e.ExternalGrid, 0, some.index, circuit.at(some),
            some["vm_pu"], some["va_degree"], none, none, none, some["slack_weight"],
        )  # fmt: skip
    some = circuit.some(e.Generator)
    if len(some):
        balances = some["slack"].astype(bool)
        yield Claim(
            e.Generator, 0, some.index, circuit.at(some),
            some["vm_pu"], np.where(balances, 0.0, np.nan), some["p_mw"] * some["scaling"],
            some.given("min_q_mvar", -UNLIMITED_MVAR), some.given("max_q_mvar", UNLIMITED_MVAR),
            np.where(balances, some["slack_weight"], 0.0),
        )  # fmt: skip
    some = circuit.some(e.DCLine)
    if len(some):
        yield from _dc_lines(circuit, some)
    some = circuit.some(e.ExtendedWard)
    if len(some):
        none, most = np.zeros(len(some)), np.full(len(some), UNLIMITED_MVAR)
        yield Claim(
            e.ExtendedWard, 0, some.index, circuit.inner[e.ExtendedWard][some.index],
            some["vm_pu"], none + np.nan, none, -most, most, none,
        )  # fmt: skip


def _dc_lines(circuit: Circuit, some: Some) -> Iterator[Claim]:
    """Both ends hold their voltages; what enters at one, less the losses, leaves at the other."""
    p = np.abs(some["p_mw"])
    arriving = p * (1 - some["loss_percent"] / 100) - some["loss_mw"]
    forwards = some["p_mw"] > 0
    for port, side, delivers in (
        (0, "from", np.where(forwards, -p, arriving)),
        (1, "to", np.where(forwards, arriving, -p)),
    ):
        yield Claim(
            e.DCLine, port, some.index, circuit.at(some, f"{side}_bus"),
            some[f"vm_{side}_pu"], np.full(len(some), np.nan), delivers,
            some.given(f"min_q_{side}_mvar", -UNLIMITED_MVAR),
            some.given(f"max_q_{side}_mvar", UNLIMITED_MVAR), np.zeros(len(some)),
        )  # fmt: skip


#: A zero-sequence reactance of 0 would be no matrix; of the positive one [1].
LEAST_X0 = 1e-6


class Thevenin(NamedTuple):
    """External grids with their short-circuit impedance (`settings.source_impedance`)."""

    row: Array
    node: Array
    emf_kv: Array
    z1: Array
    z0: Array


def thevenin(circuit: Circuit) -> Thevenin | None:
    """The external grids behind Z = c·Un²/S″k with c = 1.1 (IEC 60909-0); None: they are ideal."""
    some = circuit.some(e.ExternalGrid)
    if not len(some) or not circuit.settings.source_impedance:
        return None
    node = circuit.at(some)
    kv = circuit.vn_kv[node]
    emf = some["vm_pu"] * kv * np.exp(1j * np.deg2rad(some["va_degree"]))
    return Thevenin(some.index, node, emf, *grid_impedance(some.rows, some.index, kv))


def grid_impedance(rows: Rows, row: Array, kv: Array) -> tuple[Array, Array]:
    """Impedances of external grids in the positive and the zero sequence [Ω].

    Z = c·Un²/S″k with c = 1.1 (IEC 60909-0); the zero sequence's is the same where nothing is said.
    """
    s_sc, rx, r0x0, x0x = (
        rows.column(name)[row] for name in ("s_sc_max_mva", "rx_max", "r0x0_max", "x0x_max")
    )
    x = 1.1 * kv**2 / s_sc / np.hypot(1, rx)
    r0x0, x0 = np.where(np.isnan(r0x0), rx, r0x0), x * np.where(np.isnan(x0x), 1, x0x)
    return x * (rx + 1j), np.maximum(x0, LEAST_X0 * x) * (r0x0 + 1j)


class Single(NamedTuple):
    """External grids of one phase, each behind almost no impedance.

    phase  0, 1, 2
    """

    row: Array
    node: Array
    phase: Array
    emf_kv: Array


def single(circuit: Circuit) -> Single:
    """The external grids that hold one phase."""
    some = circuit.some(e.ExternalGrid)
    some = some.some(of_few_phases(some))
    node = circuit.at(some) if len(some) else np.zeros(0, dtype=np.int64)
    phase = np.array([ALL.index(word) for word in some.values("phases")], dtype=np.int64)
    emf = some["vm_pu"] * circuit.vn_kv[node] / np.sqrt(3)
    return Single(some.index, node, phase, emf * np.exp(1j * np.deg2rad(some["va_degree"])))


class Sources:
    """The voltage sources of a circuit, and what they are set to.

    claims   what the elements ask for
    at       claim by claim, the held node of each entry
    node     the nodes whose voltage is held
    target   their voltages [kV], complex; where the angle is free, the present one
    p_mw     what those with a free angle must deliver
    limited  1 (-1) where a node gave up its voltage for its highest (lowest) reactive power
    """

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        self.claims = list(claims(circuit))
        self.grids = thevenin(circuit)
        asked = [claim.node for claim in self.claims]
        all_nodes = np.concatenate(asked) if asked else np.zeros(0, dtype=np.int64)
        self.node, at = np.unique(all_nodes, return_inverse=True)
        starts = np.cumsum([0, *map(len, asked)]).tolist()
        self.at = [at[a:b] for a, b in itertools.pairwise(starts)]
        held = len(self.node)
        self.kv = circuit.vn_kv[self.node]
        vm_pu, angle = np.ones(held), np.zeros(held)
        self.is_fixed, self.has_grid = np.zeros((2, held), dtype=bool)
        self.p_mw, self.q_min, self.q_max = np.zeros((3, held))
        # External grids come first and are taken last: their angle counts beside a slack generator.
        for claim, node in zip(reversed(self.claims), reversed(self.at), strict=True):
            fixes = ~np.isnan(claim.va_degree)
            vm_pu[node] = claim.vm_pu
            angle[node[fixes]] = claim.va_degree[fixes]
            self.is_fixed[node[fixes]] = True
            self.has_grid[node] |= claim.kind is e.ExternalGrid
            np.add.at(self.p_mw, node, claim.p_mw)
            np.add.at(self.q_min, node, claim.q_min)
            np.add.at(self.q_max, node, claim.q_max)
        self.target = vm_pu * self.kv * np.exp(1j * np.deg2rad(angle))
        self.limited = np.zeros(held, dtype=int)
        self._returns = np.zeros(held, dtype=int)
        self._made: set[int] = set()
        self._y: csr_matrix | None = None
        self._y_with_loads: csr_matrix | None = None
        self._injected = np.zeros(len(circuit.nodes), dtype=complex)
        if not self.is_fixed.all():
            self._start_linear()
        self.emf = self.target.copy()
        names = circuit.names(self.node)
        self.names = [f"v{name}" for name in names]
        self.grid_names = [f"g{row}" for row in self.grids.row.tolist()] if self.grids else []
        self.singles = single(circuit)
        self._single_names = [f"g{row}" for row in self.singles.row.tolist()]
        # The circuit's own source must be one that stays.
        if self.is_fixed.any():
            self.names[int(np.argmax(self.is_fixed))] = "source"
        elif self.grid_names:
            self.grid_names[0] = "source"
        else:
            self._single_names[0] = "source"

    def _start_linear(self) -> None:
        """Start the free angles where the linearised power flow has them."""
        circuit = self.circuit
        branches = list(two_ports(circuit))
        power, angle = np.zeros((2, len(circuit.nodes)))
        np.add.at(power, self.node, self.p_mw)
        fixed = self.node[self.is_fixed]
        angle[fixed] = np.angle(self.target[self.is_fixed])
        grids = []
        if self.grids:
            angle[self.grids.node] = np.angle(self.grids.emf_kv)
            fixed = np.concatenate([fixed, self.grids.node])
            grids = [(self.grids.node, 1 / self.grids.z1)]
            np.add.at(self._injected, self.grids.node, self.grids.emf_kv / self.grids.z1)
        angle = linear_angles(circuit, branches, power, fixed, angle)
        free = ~self.is_fixed
        self.target[free] = np.abs(self.target[free]) * np.exp(1j * angle[self.node[free]])
        self._y = admittance(circuit, branches, [*circuit.earth, *grids])
        self._y_with_loads = self._y + load_admittance(circuit)

    # -- in the engine's words ---------------------------------------------------------------------

    def commands(self) -> list[str]:
        """The circuit with its sources, as they are set now."""
        return [
            *(
                f"new {'circuit.electrisim' if name == 'source' else f'vsource.{name}'} {text}"
                for name, text in self._definitions()
            ),
            *(self._generator(k) for k in np.flatnonzero(self.limited).tolist()),
        ]

    def _definitions(self) -> list[tuple[str, str]]:
        """Name and properties of every voltage source that is in use; the circuit's own first."""
        nodes, kvs = self.circuit.names(self.node), self.kv.tolist()
        pu, degree = _polar(self.emf, self.kv)
        found = []
        for k, name in enumerate(self.names):
            if self.limited[k]:
                continue
            text = (
                f"phases=3 bus1={nodes[k]}.1.2.3 basekv={kvs[k]!r} pu={float(pu[k])!r} "
                f"angle={float(degree[k])!r} {self._reactances(k)}"
            )
            found.append((name, text))
        if self.grids:
            kv = self.circuit.vn_kv[self.grids.node]
            pu, degree = _polar(self.grids.emf_kv, kv)
            z1, z0 = self.grids.z1, self.grids.z0
            numbers = (kv, pu, degree, z1.real, z1.imag, z0.real, z0.imag)
            columns = (self.circuit.names(self.grids.node), *(c.tolist() for c in numbers))
            text = (
                "phases=3 bus1={}.1.2.3 basekv={!r} pu={!r} angle={!r} "
                "r1={!r} x1={!r} r0={!r} x0={!r}"
            )
            found += zip(self.grid_names, map(text.format, *columns), strict=True)
        found += self._of_one_phase()
        return sorted(found, key=lambda definition: definition[0] != "source")

    def _of_one_phase(self) -> Iterator[tuple[str, str]]:
        singles = self.singles
        kv = self.circuit.vn_kv[singles.node] / np.sqrt(3)
        x = STIFFNESS_IN_PHASES * 3 * kv**2 / 100
        numbers = (singles.phase + 1, kv, *_polar(singles.emf_kv, kv), x, x)
        columns = (self.circuit.names(singles.node), *(column.tolist() for column in numbers))
        text = "phases=1 bus1={}.{} basekv={!r} pu={!r} angle={!r} r1=0 x1={!r} r0=0 x0={!r}"
        return zip(self._single_names, map(text.format, *columns), strict=True)

    def _reactances(self, k: int) -> str:
        base = float(self.kv[k] ** 2 / 100)
        if not self.circuit.unbalanced:
            return f"r1=0 x1={STIFFNESS * base!r} r0=0 x0={STIFFNESS * base!r}"
        if self.has_grid[k]:
            x = STIFFNESS_IN_PHASES * base
            return f"r1=0 x1={x!r} r0=0 x0={x!r}"
        x, other = MACHINE * base, OPEN * MACHINE * base
        return f"z1=(0,{x!r}) z2=(0,{other!r}) z0=(0,{other!r})"

    def _generator(self, k: int) -> str:
        """The generator in place of a voltage source that is at a reactive limit."""
        kw, kvar = 1e3 * self.p_mw[k], 1e3 * self._limit(k)
        where = WYE.properties.format(self.circuit.nodes[self.node[k]], float(self.kv[k]))
        return (
            f"new generator.{self.names[k]} {where} kw={float(kw)!r} kvar={float(kvar)!r} "
            f"model=1 {ALWAYS}"
        )

    def _limit(self, k: int) -> float:
        return float(self.q_max[k] if self.limited[k] > 0 else self.q_min[k])

    # -- solving -----------------------------------------------------------------------------------

    def approach(self, solver: Solver) -> None:
        """Turn the angles as far as it goes while loads are impedances, which is a linear network.

        Of several solutions with constant power, that leads to the upper one.
        """
        enough = ROUGHLY * np.abs(self.p_mw).max(initial=1)
        with contextlib.suppress(NotConvergedError):
            self._turn(solver, enough, self._y_with_loads, close_pu=ROUGHLY)

    def settle(self, solver: Solver, tolerance_mva: float) -> None:
        """Solve until every set-point is met; raises NotConvergedError."""
        self._turn(solver, tolerance_mva, self._y)
        if not self.circuit.settings.enforce_q_lims:
            return
        for _ in range(MOST_CHANGES):
            changes = self._changes(solver, tolerance_mva)
            if not len(changes):
                return
            solver.run([command for k in changes.tolist() for command in self._change(k)])
            self._turn(solver, tolerance_mva, self._y)
        raise NotConvergedError("The generators find no set of reactive limits that holds.")

    def _turn(
        self,
        solver: Solver,
        tolerance_mva: float,
        y: csr_matrix | None,
        close_pu: float = CLOSE_PU,
    ) -> None:
        """Turn the free angles until the active powers are met, and make up for the drops.

        A step that finds no solution or leads farther away is halved; a step that brings the
        voltages closer is kept, since on short lines their last digits move megawatts.
        """
        held = np.flatnonzero(self.limited == 0)
        free = np.flatnonzero((self.limited == 0) & ~self.is_fixed)
        at, step = np.angle(self.target[free]), np.zeros(len(free))
        drop = (self.emf - self.target)[held]
        self._set(solver, held, free, at, drop)
        farthest, widest, halvings = np.inf, np.inf, 0
        for _ in range(MOST_STEPS):
            missing, voltage = np.zeros(len(self.node)), None
            if solver.solve():
                voltage = solver.voltages()
                delivered = solver.delivered([f"vsource.{self.names[k]}" for k in held.tolist()])
                missing[held] = self.p_mw[held] - delivered.real
            far = np.abs(missing[free]).max(initial=0)
            off = np.full(1, np.inf)
            if voltage is not None:
                off = np.abs(self.target - voltage[self.node])[held] / self.kv[held]
            wide = off.max(initial=0)
            if voltage is None or (farthest + tolerance_mva < far and widest <= wide):
                if halvings == MOST_HALVINGS or not step.any():
                    break
                halvings, step = halvings + 1, step / 2
                self._set(solver, held, free, at + step, drop)
                continue
            drop = (self.emf - voltage[self.node])[held]
            if far <= tolerance_mva and wide < close_pu:
                return
            at, farthest, widest, halvings = np.angle(self.target[free]), far, wide, 0
            if y is not None:
                fixed = self.node[self.is_fixed]
                step = newton_step(
                    y, self._injected, voltage, fixed, self.node[free], missing[free]
                )
            self._set(solver, held, free, at + step, drop)
        self._set(solver, held, free, at, drop)
        raise NotConvergedError(
            "OpenDSS found no solution."
            if farthest == np.inf
            else f"No angles were found at which all generators deliver their active power; "
            f"{farthest:.3g} MW are missing at one."
        )

    def _set(self, solver: Solver, held: Array, free: Array, angle: Array, drop: Array) -> None:
        self.target[free] = np.abs(self.target[free]) * np.exp(1j * angle)
        self.emf[held] = self.target[held] + drop
        solver.set_sources([self.names[k] for k in held], *_polar(self.emf[held], self.kv[held]))

    # -- reactive limits ---------------------------------------------------------------------------

    def _changes(self, solver: Solver, tolerance_mva: float) -> Array:
        """Nodes that must give up their voltage, or else those that can take it up again."""
        free = np.flatnonzero(~self.is_fixed & (self.limited == 0))
        q = solver.delivered(_full([self.names[k] for k in free])).imag
        over = (q > self.q_max[free] + tolerance_mva).astype(int)
        under = (q < self.q_min[free] - tolerance_mva).astype(int)
        self.limited[free] = over - under
        if (over | under).any():
            return np.asarray(free[(over | under).astype(bool)])
        voltage = solver.voltages()[self.node]
        can = self.limited * (np.abs(voltage) - np.abs(self.target)) > CLOSE_PU * self.kv
        back = np.flatnonzero(can & (self._returns < MOST_RETURNS))
        self._returns[back] += 1
        self.limited[back] = 0
        self.target[back] *= np.exp(1j * (np.angle(voltage) - np.angle(self.target)))[back]
        self.emf[back] = self.target[back]
        return back

    def _change(self, k: int) -> list[str]:
        """Put a generator at its limit in the place of a voltage source, or the source back."""
        name = self.names[k]
        if not self.limited[k]:
            return [f"edit vsource.{name} enabled=yes", f"edit generator.{name} enabled=no"]
        kvar = float(1e3 * self._limit(k))
        known = k in self._made
        self._made.add(k)
        return [
            f"edit vsource.{name} enabled=no",
            f"edit generator.{name} enabled=yes kvar={kvar!r}" if known else self._generator(k),
        ]

    # -- who delivers what -------------------------------------------------------------------------

    def elements(self) -> list[str]:
        """The elements in use at the held nodes, of grids behind an impedance and of one phase."""
        held = [
            f"{'generator' if self.limited[k] else 'vsource'}.{name}"
            for k, name in enumerate(self.names)
        ]
        return held + _full([*self.grid_names, *self._single_names])

    def shared(self, delivered: Array) -> Iterator[tuple[Claim, Array]]:
        """What each claim's elements deliver of what their nodes do, phase by phase [MVA].

        As pandapower shares it: active power as asked for; what remains at a node with a held angle
        goes by weight to those that hold it. Reactive power in proportion to the reactive ranges,
        equally where there are none; at nodes with a held angle those at their limits stay there.
        What differs between the phases is the external grids', or everyone's where there is none.

        delivered  by the nodes, shape (held, 3)
        """
        if not self.claims:
            return
        at = np.concatenate(self.at)
        p_asked, q_min, q_max, weight, angle = (
            np.concatenate([getattr(claim, name) for claim in self.claims])
            for name in ("p_mw", "q_min", "q_max", "weight", "va_degree")
        )
        total = delivered.sum(axis=1)
        p = _share_active(at, total.real, p_asked, ~np.isnan(angle), self.is_fixed, weight)
        q = self._share_reactive(at, total.imag, q_min, q_max, ~np.isnan(angle))
        is_grid = np.concatenate(
            [np.full(len(claim.row), claim.kind is e.ExternalGrid) for claim in self.claims]
        )
        takes = np.where(self.has_grid[at], is_grid, True)
        part = takes / np.bincount(at, takes, len(total))[at]
        unlike = delivered - total[:, None] / 3
        phases = (p + 1j * q)[:, None] / 3 + part[:, None] * unlike[at]
        ends = np.cumsum([len(claim.row) for claim in self.claims])[:-1]
        yield from zip(self.claims, np.split(phases, ends), strict=True)

    def _share_reactive(
        self, at: Array, total: Array, q_min: Array, q_max: Array, balances: Array
    ) -> Array:
        q = np.zeros(len(at))
        open_ = np.ones(len(at), dtype=bool)
        while True:
            rest = total - np.bincount(at, q * ~open_, len(total))
            q[open_] = _in_proportion(at[open_], rest, q_min[open_], q_max[open_])
            if not self.circuit.settings.enforce_q_lims:
                return q
            beyond = open_ & ~balances & self.is_fixed[at] & ((q < q_min) | (q > q_max))
            if not beyond.any():
                return q
            q[beyond] = np.clip(q, q_min, q_max)[beyond]
            open_ &= ~beyond


def _share_active(
    at: Array, total: Array, asked: Array, balances: Array, is_fixed: Array, weight: Array
) -> Array:
    count = len(total)
    # Where no angle is held, everyone takes an equal part of the little that is missing.
    takes = np.where(is_fixed[at], balances, True)
    weights = np.bincount(at, weight * takes, count)
    share = np.where(
        (weights > 0)[at] & is_fixed[at],
        weight / np.where(weights > 0, weights, 1)[at],
        1 / np.maximum(np.bincount(at, takes, count), 1)[at],
    )
    missing = total - np.bincount(at, asked, count)
    return np.asarray(asked + takes * share * missing[at])


def _in_proportion(at: Array, total: Array, q_min: Array, q_max: Array) -> Array:
    """Reactive power of each at its node, by range; equally where nobody has a range."""
    low, high = (np.bincount(at, limit, len(total)) for limit in (q_min, q_max))
    span, count = high - low, np.maximum(np.bincount(at, minlength=len(total)), 1)
    share = (q_max - q_min) / np.where(span, span, 1)[at]
    q = np.where((span == 0)[at], 0.0, q_min - share * low[at] + share * total[at])
    # Ranges without limits are so wide that their last digits are kilovars.
    return np.asarray(q + ((total - np.bincount(at, q, len(total))) / count)[at])


def _polar(volts: Array, base: Array) -> tuple[Array, Array]:
    return np.abs(volts) / base, np.rad2deg(np.angle(volts))


def _full(names: Sequence[str]) -> list[str]:
    return [f"vsource.{name}" for name in names]
