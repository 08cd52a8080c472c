"""The DC optimal power flow as a linear or quadratic programme, solved by HiGHS.

Unknown are the angle at every bus, the active power of every unit, and a cost for every
piecewise-linear one. A branch carries b (θ_f − θ_t) + its constant flow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import highspy
import numpy as np
from scipy.sparse import coo_matrix, csc_matrix

from electrisim.network import Array
from electrisim.problems import NotConvergedError
from electrisim.studies.opf import Optimality
from pandapower_opf_case import Case


class Linear(NamedTuple):
    """A solution in per unit with the multipliers of all limits; `loads`: what branches carry."""

    va: Array
    p: Array
    lam: Array
    low: Mapping[str, Array]
    high: Mapping[str, Array]
    flow: Array
    loads: Array
    objective: float
    iterations: int
    solver: str
    kkt: Optimality | None


class _Tableau:
    """min cost·x + x·diag(square)·x with lo ≤ A x ≤ hi and x_lo ≤ x ≤ x_hi."""

    def __init__(self, case: Case) -> None:
        self.case = c = case
        n, k, y = c.n_bus, len(c.units), c.n_curve
        self.va, self.p, self.y = slice(0, n), slice(n, n + k), slice(n + k, n + k + y)
        size = n + k + y
        seg_p = c.seg_of < k
        segments = np.flatnonzero(seg_p)
        counts = [n, len(c.flow_branch), len(c.angle_from), len(c.link_from), len(segments)]
        ends = np.cumsum([0, *counts])
        self.parts = [slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]
        balance, flow, angle, link, seg = (np.arange(p.start, p.stop) for p in self.parts)
        branch = c.flow_branch
        unit = np.arange(k)
        places = [
            # what branches carry away, and what units bring
            (c.f, c.f, -c.b), (c.f, c.t, c.b), (c.t, c.f, c.b), (c.t, c.t, -c.b),
            (c.unit_bus, n + unit, np.ones(k)),
            (flow, c.f[branch], c.b[branch]), (flow, c.t[branch], -c.b[branch]),
            (angle, c.angle_from, np.ones(len(angle))), (angle, c.angle_to, -np.ones(len(angle))),
            (link, n + c.link_to, np.ones(len(link))), (link, n + c.link_from, c.link_ratio),
            (seg, n + c.seg_of[segments], c.seg_slope[segments]),
            (seg, n + k + c.seg_curve[segments], -np.ones(len(segments))),
        ]  # fmt: skip
        rows, cols, values = (np.concatenate([place[i] for place in places]) for i in range(3))
        self.matrix = csc_matrix(coo_matrix((values, (rows, cols)), (ends[-1], size)))
        drawn = c.drawn_dc.copy()
        np.add.at(drawn, c.f, c.shift_pu)
        np.subtract.at(drawn, c.t, c.shift_pu)
        self.shift = c.shift_pu[branch]
        none = np.full(len(segments), -np.inf)
        self.lo = np.concatenate(
            [drawn, -c.flow_limit - self.shift, c.angle_lo, c.link_constant, none]
        )
        self.hi = np.concatenate([
            drawn, c.flow_limit - self.shift, c.angle_hi, c.link_constant,
            -c.seg_constant[segments],
        ])  # fmt: skip
        free = np.full(y, np.inf)
        self.x_lo = np.concatenate([c.va_lo, c.p_lo, -free])
        self.x_hi = np.concatenate([c.va_hi, c.p_hi, free])
        self.cost = np.concatenate([np.zeros(n), c.cost1[:k], np.ones(y)])
        self.square = np.concatenate([np.zeros(n), c.cost2[:k], np.zeros(y)])
        self.constant = float(c.cost0.sum())
        if not c.priced:
            self.cost[:] = 0


class Bounds(NamedTuple):
    """How long the solver may take [s], and how many iterations; None for as many as it wants."""

    seconds: float
    iterations: int | None

    def run(self, solver: highspy.Highs) -> bool:
        """Whether the solver finds an optimum; raises NotConvergedError beyond these bounds."""
        solver.setOptionValue("time_limit", self.seconds)
        if self.iterations is not None:
            for name in ("simplex_iteration_limit", "qp_iteration_limit", "ipm_iteration_limit"):
                solver.setOptionValue(name, self.iterations)
        solver.run()
        status = solver.getModelStatus()
        spent = {
            highspy.HighsModelStatus.kTimeLimit: f"{self.seconds:g} s",
            highspy.HighsModelStatus.kIterationLimit: f"{self.iterations} iterations",
        }
        if status in spent:
            message = f"The optimal power flow found no solution within {spent[status]}."
            raise NotConvergedError(message)
        return bool(status == highspy.HighsModelStatus.kOptimal)


def solve_linear(case: Case, bounds: Bounds) -> Linear | None:
    """The optimum, or None where there is none; raises NotConvergedError where time is up."""
    t = _Tableau(case)
    if (t.x_lo > t.x_hi).any():
        return None
    solver = _load(t.matrix, t.cost, t.x_lo, t.x_hi, t.lo, t.hi, t.square)
    if not bounds.run(solver):
        return None
    found, info = solver.getSolution(), solver.getInfo()
    x, z = np.array(found.col_value), np.array(found.col_dual)
    row, row_dual = np.array(found.row_value), np.array(found.row_dual)
    balance, flow, angle, _, _ = t.parts
    iterations = max(info.simplex_iteration_count, info.qp_iteration_count, 0)
    return Linear(
        va=x[t.va], p=x[t.p], lam=row_dual[balance],
        low={"p": np.maximum(z[t.p], 0), "angle": np.maximum(row_dual[angle], 0)},
        high={"p": np.maximum(-z[t.p], 0), "angle": np.maximum(-row_dual[angle], 0)},
        flow=np.abs(row_dual[flow]), loads=np.abs(row[flow] + t.shift),
        objective=float(t.cost @ x + t.square @ x**2) + t.constant, iterations=iterations,
        solver=f"HiGHS {solver.version()}", kkt=_kkt(t, x, z, row_dual),
    )  # fmt: skip


def _kkt(t: _Tableau, x: Array, z: Array, row_dual: Array) -> Optimality:
    """As `Optimum.kkt`, from the tableau alone."""
    gradient = t.cost + 2 * t.square * x
    stationary = (gradient - t.matrix.T @ row_dual - z)[t.x_lo < t.x_hi]
    g = t.matrix @ x
    beyond = [np.maximum(t.x_lo - x, x - t.x_hi), np.maximum(t.lo - g, g - t.hi)]
    gap = 0.0
    for value, dual, lo, hi in ((x, z, t.x_lo, t.x_hi), (g, row_dual, t.lo, t.hi)):
        bound = np.where(dual > 0, lo, hi)
        gap += float(np.abs(dual[dual != 0] * (value - bound)[dual != 0]).sum())
    largest = max(np.abs(gradient).max(initial=0), np.abs(row_dual).max(initial=0), 1e-9)
    objective = float(t.cost @ x + t.square @ x**2)
    return Optimality(
        stationarity=float(np.abs(stationary).max(initial=0) / largest),
        mismatch_mva=float(max(b.max(initial=0) for b in beyond) * t.case.s_mva),
        gap=gap / max(1.0, abs(objective)),
    )


def relax_linear(case: Case, bounds: Bounds) -> Linear | None:
    """The solution whose limits give way by the least sum, in hundredths of what they limit."""
    t = _Tableau(case)
    soft = np.flatnonzero(~case.fixed) + t.p.start
    power = max(np.abs(case.drawn_dc).max(initial=0), 1e-3)
    _, flow, angle, _, _ = t.parts
    rows = np.r_[flow, angle]
    size, m = len(t.cost), len(t.lo)
    limited = [(soft, sign, bound[soft]) for sign, bound in ((1.0, t.x_lo), (-1.0, t.x_hi))]
    at, sign, limit = (np.concatenate(part) for part in (
        [e[0][np.isfinite(e[2])] for e in limited],
        [np.full(int(np.isfinite(e[2]).sum()), e[1]) for e in limited],
        [e[2][np.isfinite(e[2])] for e in limited],
    ))  # fmt: skip
    b, k = len(at), 2 * len(rows)
    own = m + np.arange(b)
    scale = 0.01 * np.maximum(np.abs(limit), power)
    row_scale = np.r_[0.01 * case.flow_limit, np.full(len(case.angle_from), 0.01)]
    slacks = size + np.arange(b + k)
    entries = coo_matrix((
        np.r_[np.ones(b), sign * scale, row_scale, -row_scale],
        (np.r_[own, own, rows, rows], np.r_[at, slacks[:b], slacks[b:]]),
    ), (m + b, size + b + k))  # fmt: skip
    base = coo_matrix(t.matrix)
    matrix = csc_matrix(
        coo_matrix((base.data, (base.row, base.col)), (m + b, size + b + k)) + entries
    )
    x_lo, x_hi = t.x_lo.copy(), t.x_hi.copy()
    x_lo[soft], x_hi[soft] = -np.inf, np.inf
    solver = _load(
        matrix, np.r_[np.zeros(size), np.ones(b + k)], np.r_[x_lo, np.zeros(b + k)],
        np.r_[x_hi, np.full(b + k, np.inf)], np.r_[t.lo, np.where(sign > 0, limit, -np.inf)],
        np.r_[t.hi, np.where(sign > 0, np.inf, limit)], None,
    )  # fmt: skip
    if not bounds.run(solver):
        return None
    x = np.array(solver.getSolution().col_value)[:size]
    loads = np.abs((t.matrix @ x)[flow] + t.shift)
    nothing: dict[str, Array] = {}
    return Linear(
        x[t.va], x[t.p], np.zeros(case.n_bus), nothing, nothing, np.zeros(len(loads)), loads,
        0.0, 0, "HiGHS", None,
    )  # fmt: skip


def _load(
    matrix: csc_matrix, cost: Array, x_lo: Array, x_hi: Array, lo: Array, hi: Array,
    square: Array | None,
) -> highspy.Highs:  # fmt: skip
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = matrix.shape
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, x_lo, x_hi
    lp.row_lower_, lp.row_upper_ = lo, hi
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = matrix.indptr, matrix.indices
    lp.a_matrix_.value_ = matrix.data
    model = highspy.HighsModel()
    model.lp_ = lp
    if square is not None and square.any():
        used = square != 0
        hessian = highspy.HighsHessian()
        hessian.dim_ = len(square)
        hessian.format_ = highspy.HessianFormat.kTriangular
        hessian.start_ = np.r_[0, np.cumsum(used)].astype(np.int32)
        hessian.index_ = np.flatnonzero(used).astype(np.int32)
        hessian.value_ = 2 * square[used]
        model.hessian_ = hessian
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("primal_feasibility_tolerance", 1e-9)
    solver.setOptionValue("dual_feasibility_tolerance", 1e-9)
    solver.passModel(model)
    return solver
