"""pandapower's per-unit arrays in lightsim2grid's compiled solver: many cases of one network.

All reference buses become one node. The voltage of each is fixed, so a branch from reference bus k
to bus n is, seen from n, a branch from the first reference bus with its mutual admittance times
V_k / V_1. Several external grids, in one island or in many, are then one network with one slack.

A branch whose mutual admittances are equal is a line with its own admittance to earth at either
end, be it a transformer or not. Only phase shifters remain transformers.
"""

from __future__ import annotations

import functools
import os
import warnings
from typing import Any, NamedTuple

import numpy as np
from lightsim2grid.lightsim2grid_cpp import AlgorithmType, LSGrid, ScenarioSweepCPP
from pandapower.pypower.idx_brch import (
    BR_B,
    BR_B_ASYM,
    BR_G,
    BR_G_ASYM,
    BR_R,
    BR_R_ASYM,
    BR_X,
    BR_X_ASYM,
    F_BUS,
    SHIFT,
    T_BUS,
    TAP,
)
from pandapower.pypower.idx_bus import BASE_KV, BS, GS, PD, QD
from pandapower.pypower.idx_gen import GEN_BUS, PG, QMAX, QMIN, SL_FAC, VG
from pandapower.pypower.makeBdc import makeBdc
from pandapower.pypower.makeYbus import branch_vectors
from scipy.sparse import csr_matrix, vstack
from scipy.sparse.linalg import MatrixRankWarning, spsolve

from electrisim.network import Array

#: What must agree does so within this, absolute or relative to the value.
SAME = 1e-6
#: A voltage below this may be that of the lower of two solutions [pu].
LOW_PU = 0.85


ALL_HELD = "the network has no bus beside those that hold the voltage"


class CannotCompileError(Exception):
    """Why a network goes through pandapower case by case."""


# -- pandapower's arrays ---------------------------------------------------------------------------


class Arrays:
    """pandapower's per-unit arrays of one solved network.

    count           number of buses, all of them supplied
    base_mva        base of the per-unit system; base_kv of each bus
    f, t            buses of the branches' ends; from_bus, to_bus the same as (n_bus, n_branch)
    y               Y_ff, Y_ft, Y_tf, Y_tt of each branch
    y_ends          the same as (n_branch + 1, n_bus), at from and at to ends; the last row is 0
    y_earth         admittance to earth at each bus
    drawn_mva       constant power drawn at each bus
    voltage         of the base case
    ref, pv         buses that hold voltage and angle, and voltage
    of_bus          bus of the network → bus here; `count` where it has no supply
    gen_bus         bus of each generator in service; gen_p_mw what it is set to deliver, gen_vm_pu
                    what it holds, gen_range its least and largest Mvar, gen_weight its slack
                    weight, ref_gen whether it holds the angle
    """

    def __init__(self, net: Any) -> None:
        inner = net["_ppc"]["internal"]
        if "bus" not in inner:
            # pandapower solves nothing where every bus holds its voltage.
            raise CannotCompileError(ALL_HELD)
        bus, branch, gen = inner["bus"], inner["branch"].real, inner["gen"]
        self.count = len(bus)
        self.base_mva = float(inner["baseMVA"])
        self.base_kv = bus[:, BASE_KV]
        self.f, self.t = (branch[:, end].astype(np.int64) for end in (F_BUS, T_BUS))
        self.branch = branch
        y_tt, y_ff, y_ft, y_tf = branch_vectors(inner["branch"], len(branch))
        self.y = np.stack([y_ff, y_ft, y_tf, y_tt]).astype(complex)
        self.from_bus, self.to_bus = (incidence(end, self.count).T for end in (self.f, self.t))
        at_f, at_t = self.from_bus.T, self.to_bus.T
        y_from = csr_matrix(at_f.multiply(y_ff[:, None]) + at_t.multiply(y_ft[:, None]))
        y_to = csr_matrix(at_f.multiply(y_tf[:, None]) + at_t.multiply(y_tt[:, None]))
        idle = csr_matrix((1, self.count), dtype=complex)
        self.y_ends = csr_matrix(vstack([y_from, idle])), csr_matrix(vstack([y_to, idle]))
        self.y_earth = (bus[:, GS] + 1j * bus[:, BS]) / self.base_mva
        self.y_bus = inner["Ybus"]
        self.drawn_mva = bus[:, PD] + 1j * bus[:, QD]
        self.voltage = np.asarray(inner["V"])
        self.ref, self.pv = np.asarray(inner["ref"]), np.asarray(inner["pv"])
        self._lookups = net["_pd2ppc_lookups"]
        lookup = self._lookups["bus"][net["bus"].index.to_numpy()]
        self.of_bus = np.where((lookup >= 0) & (lookup < self.count), lookup, self.count)
        self._of_branch = _renumbered(inner["branch_is"])
        self._of_gen = _renumbered(inner["gen_is"])
        self.gen_bus = gen[:, GEN_BUS].astype(np.int64)
        self.gen_vm_pu = gen[:, VG]
        self.gen_range = gen[:, [QMIN, QMAX]]
        self.gen_weight = gen[:, SL_FAC]
        self.ref_gen = np.isin(np.arange(len(gen)), inner["ref_gens"])
        # What reference generators deliver, pandapower has overwritten by its result.
        self.gen_p_mw = np.where(self.ref_gen, 0.0, gen[:, PG])
        self.bus = bus

    @functools.cached_property
    def cold(self) -> Array:
        """Voltages from which pandapower starts: angles of the linear power flow, 1 pu or as held.

        Where the linear power flow has no solution, the angles are those of the base case.
        """
        angle = np.angle(self.voltage)
        try:
            b_bus, _, shifted, *_ = makeBdc(self.bus, self.branch)
        except FloatingPointError:  # a branch without reactance
            return self._held_at(angle)
        inner = np.setdiff1d(np.arange(self.count), self.ref)
        injected = -self.drawn_mva.real
        np.add.at(injected, self.gen_bus, self.gen_p_mw)
        power = injected / self.base_mva - self.y_earth.real - shifted
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", MatrixRankWarning)
            known = b_bus[inner][:, self.ref] @ angle[self.ref]
            found = spsolve(b_bus[inner][:, inner].tocsc(), power[inner] - known)
        angle[inner] = np.where(np.isfinite(found), found, angle[inner])
        return self._held_at(angle)

    def _held_at(self, angle: Array) -> Array:
        """Voltages of 1 pu, or as held, at these angles."""
        holding = np.isin(np.arange(self.count), np.r_[self.pv, self.ref])
        return np.asarray(np.where(holding, np.abs(self.voltage), 1.0) * np.exp(1j * angle))

    def branches_of(self, table: str) -> Array:
        """Branches here of a table's elements, -1 where out; shape (branches per element, n)."""
        start, end = self._lookups["branch"].get(table, (0, 0))
        return np.asarray(self._of_branch[start:end]).reshape(3 if table == "trafo3w" else 1, -1)

    def gens_of(self, table: str, count: int) -> Array:
        """Generator here of each of a table's elements, -1 where out; shape (count,)."""
        lookup = self._lookups.get(table)
        found = np.full(count, -1)
        if lookup is not None:
            outer = lookup[: min(count, len(lookup))]
            found[: len(outer)] = np.where(outer >= 0, np.r_[self._of_gen, -1][outer], -1)
        return found


def _renumbered(kept: Array) -> Array:
    """Old number → number among those that are kept, -1 for the others."""
    return np.where(kept, np.cumsum(kept) - 1, -1)


def incidence(at: Array, count: int) -> Any:
    """Sparse (len(at), count) with a 1 where each element is; none where it is at `count`."""
    kept = np.flatnonzero(at < count)
    return csr_matrix((np.ones(len(kept)), (kept, at[kept])), (len(at), count))


# -- the compiled solver ---------------------------------------------------------------------------


class Inputs(NamedTuple):
    """What a batch of cases changes in the arrays.

    count        number of cases
    off          (case, branch) pairs that are out of service, shape (2, k)
    drawn_mva    what is drawn at each bus, shape (n, n_bus); None as built
    pv_mw        what generators deliver at each PV bus, shape (n, n_pv); None as built
    pv_vm        the voltage held at each PV bus, shape (n, n_pv); None as built
    released     PV buses that lost their last generator, shape (n, n_pv); None for none
    ref_vm       the voltage held at the only reference bus, shape (n,); None as built
    """

    count: int
    off: Array
    drawn_mva: Array | None = None
    pv_mw: Array | None = None
    pv_vm: Array | None = None
    released: Array | None = None
    ref_vm: Array | None = None

    def take(self, rows: Array) -> Inputs:
        """The inputs of some of the cases, renumbered."""
        new = np.full(self.count, -1)
        new[rows] = np.arange(len(rows))
        kept = new[self.off[0]] >= 0
        off = np.stack([new[self.off[0][kept]], self.off[1][kept]])
        others = (None if part is None else part[rows] for part in self[2:])
        return Inputs(len(rows), off, *others)


class Solver:
    """The arrays in lightsim2grid, all reference buses as one slack."""

    def __init__(self, arrays: Arrays, tolerance_mva: float, max_iteration: int | None) -> None:
        self.arrays = a = arrays
        self.tolerance = _sharper(tolerance_mva / a.base_mva, np.abs(a.y_bus.diagonal()).max())
        self.max_iteration = max_iteration or 30
        self.inner = np.setdiff1d(np.arange(a.count), a.ref)
        if not len(self.inner):
            raise CannotCompileError(ALL_HELD)
        self.node = np.full(a.count, len(self.inner))
        self.node[self.inner] = np.arange(len(self.inner))
        self.base_pv_mw = np.zeros(a.count)
        np.add.at(self.base_pv_mw, a.gen_bus, a.gen_p_mw)
        self.base_pv_vm = np.abs(a.voltage[a.pv])
        self._branches()
        self.grid = self._grid(0)
        self._check()

    def _branches(self) -> None:
        """Every branch as lightsim2grid's line or transformer, between its nodes."""
        a = self.arrays
        y_ff, y_ft, y_tf, y_tt = a.y
        at_ref = np.isin(a.f, a.ref), np.isin(a.t, a.ref)
        fixed = a.voltage / a.voltage[a.ref[0]]
        series, earth_f, earth_t = -y_ft, y_ff + y_ft, y_tt + y_ft
        # At a reference bus only what the other end sees matters.
        series = np.where(at_ref[0], -y_tf * fixed[a.f], series)
        series = np.where(at_ref[1], -y_ft * fixed[a.t], series)
        earth_f = np.where(at_ref[1], y_ff - series, np.where(at_ref[0], 0, earth_f))
        earth_t = np.where(at_ref[0], y_tt - series, np.where(at_ref[1], 0, earth_t))
        used = ~(at_ref[0] & at_ref[1])
        reciprocal = at_ref[0] | at_ref[1] | (np.abs(y_ft - y_tf) <= 1e-12 * np.abs(y_ft))
        self.line = np.flatnonzero(used & reciprocal)
        self.shifter = np.flatnonzero(used & ~reciprocal)
        asymmetric = a.branch[self.shifter][:, [BR_R_ASYM, BR_X_ASYM, BR_G_ASYM, BR_B_ASYM]]
        if asymmetric.any():
            raise CannotCompileError("a branch differs by direction")
        self.position = np.full(len(a.f), -1)
        self.position[self.line] = np.arange(len(self.line))
        self.position[self.shifter] = np.arange(len(self.shifter))
        self.is_line = np.zeros(len(a.f), dtype=bool)
        self.is_line[self.line] = True
        self._line_values = 1 / series[self.line], earth_f[self.line], earth_t[self.line]

    def _grid(self, padding: int) -> LSGrid:
        """The network; `padding` idle buses at the slack make its part the largest one.

        Of a network that falls apart, lightsim2grid solves the largest part.
        """
        a, inner = self.arrays, self.inner
        slack = len(inner)
        grid = LSGrid()
        grid.set_sn_mva(a.base_mva)
        grid.set_init_vm_pu(1.0)
        count = slack + 1 + padding
        grid.set_n_sub(count)
        kv = np.ones(count)
        kv[:slack] = a.base_kv[inner]
        grid.init_bus(count, 1, kv, 0, 0)
        z, earth_f, earth_t = self._line_values
        idle = np.arange(slack + 1, count)
        nothing = np.zeros(padding, dtype=complex)
        grid.init_powerlines_full(
            np.r_[z.real, np.zeros(padding)],
            np.r_[z.imag, np.ones(padding)],
            np.r_[earth_f, nothing],
            np.r_[earth_t, nothing],
            _int32(np.r_[self.node[a.f[self.line]], np.full(padding, slack)]),
            _int32(np.r_[self.node[a.t[self.line]], idle]),
        )
        branch = a.branch[self.shifter]
        tap = branch[:, TAP]
        grid.init_trafo(
            branch[:, BR_R].copy(),
            branch[:, BR_X].copy(),
            branch[:, BR_G] + 1j * branch[:, BR_B],
            np.where(tap == 0, 1.0, tap),
            branch[:, SHIFT].copy(),
            [True] * len(branch),
            _int32(self.node[a.f[self.shifter]]),
            _int32(self.node[a.t[self.shifter]]),
            False,
        )
        earth = inner[a.y_earth[inner] != 0]
        y_mva = a.y_earth[earth] * a.base_mva
        grid.init_shunt(y_mva.real.copy(), -y_mva.imag, _int32(self.node[earth]))
        drawn = a.drawn_mva[inner]
        grid.init_loads(drawn.real.copy(), drawn.imag.copy(), _int32(np.arange(slack)))
        wide = np.full(len(a.pv) + 1, 1e9)
        grid.init_generators(
            np.r_[self.base_pv_mw[a.pv], 0.0],
            np.r_[self.base_pv_vm, np.abs(a.voltage[a.ref[0]])],
            -wide,
            wide,
            _int32(np.r_[self.node[a.pv], slack]),
        )
        grid.add_gen_slackbus(len(a.pv), 1.0)
        grid.change_algorithm(AlgorithmType.NRSing_KLU)
        return grid

    def start(self, voltage: Array, padding: int) -> Array:
        """A vector of voltages as lightsim2grid numbers them, with that of the idle buses."""
        return np.r_[voltage[self.inner], np.full(padding + 1, voltage[self.arrays.ref[0]])]

    def _is_low(self, voltage: Array) -> Array:
        """Whether a bus with supply has so low a voltage that a cold start should confirm it."""
        magnitude = np.abs(voltage[..., self.inner])
        return np.asarray(((magnitude < LOW_PU) & (magnitude > 0)).any(axis=-1))

    def _check(self) -> None:
        """The admittances and the base voltages must be pandapower's."""
        a, inner = self.arrays, self.inner
        found = self.grid.ac_pf(self.start(a.voltage, 0), self.max_iteration, self.tolerance)
        if len(found) == 0 or np.abs(found[:-1] - a.voltage[inner]).max() > SAME:
            raise CannotCompileError("lightsim2grid does not confirm the base case")
        ours = csr_matrix(self.grid.get_Ybus())[: len(inner), : len(inner)]
        theirs = csr_matrix(a.y_bus)[inner][:, inner]
        if abs(ours - theirs).max() > SAME * abs(theirs).max():
            raise CannotCompileError("lightsim2grid does not confirm the admittances")

    def solve(self, inputs: Inputs) -> tuple[Array, Array]:
        """Voltages, shape (n, n_bus), 0 without supply, and which cases have a solution.

        From the base case Newton's method may reach the lower of two solutions where voltages are
        low, there or here: such cases start where pandapower would.
        """
        voltage = np.zeros((inputs.count, self.arrays.count), dtype=complex)
        solved = np.zeros(inputs.count, dtype=bool)
        # Every bus that some case releases costs all cases of a batch an unknown.
        free = np.zeros(inputs.count, dtype=bool)
        if inputs.released is not None:
            free = inputs.released.any(axis=1)
        is_cold = bool(self._is_low(self.arrays.voltage))
        for rows in (np.flatnonzero(~free), np.flatnonzero(free)):
            if not len(rows):
                continue
            part = inputs.take(rows) if len(rows) < inputs.count else inputs
            voltage[rows], solved[rows] = self._batch(part, 0, _CHORD, is_cold)
            lost = rows[~solved[rows]]
            if len(lost):
                padding = self.arrays.count if np.isin(lost, inputs.off[0]).any() else 0
                part = inputs.take(lost)
                voltage[lost], solved[lost] = self._batch(part, padding, _NEWTON, is_cold)
            low = rows[solved[rows] & self._is_low(voltage[rows])]
            if len(low) and not is_cold:
                padding = self.arrays.count if np.isin(low, inputs.off[0]).any() else 0
                part = inputs.take(low)
                voltage[low], solved[low] = self._batch(part, padding, _NEWTON, is_cold=True)
        return voltage, solved

    def _batch(
        self, inputs: Inputs, padding: int, policy: list[int], is_cold: bool
    ) -> tuple[Array, Array]:
        a, count = self.arrays, inputs.count
        batch = ScenarioSweepCPP(self._padded_grid if padding else self.grid)
        batch.change_algorithm(AlgorithmType.NRSing_KLU)
        config = batch.get_algo_config()
        config.int_params = policy
        batch.set_algo_config(config)
        batch.handle_disconnected_grid = True
        batch.init_from_n_powerflow = not is_cold
        batch.nb_thread = min(_THREADS, 1 + count // 64)
        self._set_outages(batch, inputs, padding)
        self._set_injections(batch, inputs)
        start = self.start(a.cold if is_cold else a.voltage, padding)
        batch.compute(start, self.max_iteration, self.tolerance)
        solved = np.array(batch.converged_mask(), dtype=bool)
        voltage = np.zeros((count, a.count), dtype=complex)
        voltage[:, self.inner] = batch.get_voltages()[:, : len(self.inner)]
        voltage[:, a.ref] = a.voltage[a.ref]
        if inputs.ref_vm is not None:
            voltage[:, a.ref] *= (inputs.ref_vm / np.abs(a.voltage[a.ref[0]]))[:, None]
        voltage[~solved] = 0
        return voltage, solved

    @functools.cached_property
    def _padded_grid(self) -> LSGrid:
        return self._grid(self.arrays.count)

    def _set_outages(self, batch: ScenarioSweepCPP, inputs: Inputs, padding: int) -> None:
        case, branch = inputs.off
        position, is_line = self.position[branch], self.is_line[branch]
        lines = np.zeros((inputs.count, len(self.line) + padding), dtype=bool)
        lines[case[is_line], position[is_line]] = True
        batch.set_contingency_lines(lines)
        shifted = ~is_line & (position >= 0)
        if shifted.any():
            shifters = np.zeros((inputs.count, len(self.shifter)), dtype=bool)
            shifters[case[shifted], position[shifted]] = True
            batch.set_contingency_trafos(shifters)

    def _set_injections(self, batch: ScenarioSweepCPP, inputs: Inputs) -> None:
        a, count = self.arrays, inputs.count
        if inputs.drawn_mva is not None:
            drawn = inputs.drawn_mva[:, self.inner]
            batch.modify_load_p(np.ascontiguousarray(drawn.real))
            batch.modify_load_q(np.ascontiguousarray(drawn.imag))
        if inputs.pv_mw is not None:
            batch.modify_gen_p(np.hstack([inputs.pv_mw, np.zeros((count, 1))]))
        if inputs.pv_vm is not None or inputs.ref_vm is not None:
            pv_vm = np.tile(self.base_pv_vm, (count, 1)) if inputs.pv_vm is None else inputs.pv_vm
            ref_vm = np.full(count, np.abs(a.voltage[a.ref[0]]))
            ref_vm = ref_vm if inputs.ref_vm is None else inputs.ref_vm
            batch.modify_gen_v(np.hstack([pv_vm, ref_vm[:, None]]))
        if inputs.released is not None and inputs.released.any():
            never = np.zeros((count, 1), dtype=bool)
            batch.set_contingency_gens(np.hstack([inputs.released, never]))


#: lightsim2grid's `int_params`: [scaling, refactorisation, line-search iterations, every n].
_NEWTON, _CHORD = [0, 0, 30, 2], [0, 1, 30, 2]
_THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _sharper(tolerance: float, y_max: float) -> float:
    """A hundredth of the tolerance, as far as rounding allows [pu].

    Iterations with a kept Jacobian stop as soon as they are within; Newton's overshoot by far, and
    voltages are to agree with it.
    """
    rounding = 16 * float(np.finfo(float).eps) * y_max
    return min(tolerance, max(tolerance / 100, rounding))


def _int32(values: Array) -> Array:
    return values.astype(np.int32)
