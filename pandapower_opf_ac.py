"""The AC optimal power flow as a nonlinear programme: MATPOWER's formulation in polar voltages.

Unknown are angle and magnitude at every bus, active and reactive power of every unit, and a cost
for every piecewise-linear one. Per branch, with δ = θ_f − θ_t and Y of its two ends,

    S_f = Y_ff* V_f² + Y_ft* V_f V_t e^{jδ},    S_t = Y_tt* V_t² + Y_tf* V_f V_t e^{−jδ}

and all derivatives follow from those after (δ, V_f, V_t). Limits of branches are on |S|² or |I|².
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix

from electrisim.network import Array
from electrisim.studies.opf import Optimality
from pandapower_ipopt import Found
from pandapower_opf_case import Case

#: Place of a second derivative after (δ, V_f, V_t) in the lower triangle.
_SECOND = ((0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (2, 2))


class Terms(NamedTuple):
    """A complex or real quantity per branch with its derivatives after (δ, V_f, V_t).

    first shape (3, m), second shape (6, m) in the order of `_SECOND`
    """

    value: Array
    first: Array
    second: Array


class Optimum:
    """The programme of a case, as `pandapower_ipopt.Programme` wants it."""

    def __init__(self, case: Case, current: bool) -> None:
        self.case = c = case
        self.current = current
        n, k, y = c.n_bus, len(c.unit_bus), c.n_curve
        self.va, self.vm = slice(0, n), slice(n, 2 * n)
        self.p, self.q = slice(2 * n, 2 * n + k), slice(2 * n + k, 2 * n + 2 * k)
        self.y = slice(2 * n + 2 * k, 2 * n + 2 * k + y)
        self.size = self.y.stop
        free = np.full(y, np.inf)
        self.x_lo = np.concatenate([c.va_lo, c.vm_lo, c.p_lo, c.q_lo, -free])
        self.x_hi = np.concatenate([c.va_hi, c.vm_hi, c.p_hi, c.q_hi, free])
        counts = [n, n, len(c.flow_branch), len(c.angle_from), len(c.link_from), len(c.seg_curve)]
        ends = np.cumsum([0, *counts])
        self.parts = [slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]
        self.rows_p, self.rows_q, self.flow, self.angle, self.link, self.seg = self.parts
        nothing = np.zeros
        none = np.full
        self.g_lo = np.concatenate([
            nothing(2 * n), none(counts[2], -np.inf), c.angle_lo, c.link_constant,
            none(counts[5], -np.inf),
        ])  # fmt: skip
        self.g_hi = np.concatenate([
            nothing(2 * n), c.flow_limit**2, c.angle_hi, c.link_constant, -c.seg_constant,
        ])  # fmt: skip
        self._place_jacobian()
        self._place_hessian()

    # -- costs -------------------------------------------------------------------------------------

    def objective(self, x: Array) -> float:
        c = self.case
        pq = x[self.p.start : self.q.stop]
        polynomial = c.cost0.sum() + c.cost1 @ pq + c.cost2 @ pq**2
        return float(polynomial + x[self.y].sum())

    def gradient(self, x: Array) -> Array:
        c, found = self.case, np.zeros(self.size)
        pq = slice(self.p.start, self.q.stop)
        found[pq] = c.cost1 + 2 * c.cost2 * x[pq]
        found[self.y] = 1
        return found

    # -- constraints -------------------------------------------------------------------------------

    def constraints(self, x: Array) -> Array:
        c = self.case
        va, vm, p, q = x[self.va], x[self.vm], x[self.p], x[self.q]
        s_f, s_t = self.flows(x)
        net = (c.drawn + c.drawn_i * vm + c.drawn_z * vm**2).astype(complex)
        np.add.at(net, c.f, s_f)
        np.add.at(net, c.t, s_t)
        np.subtract.at(net, c.unit_bus, p + 1j * q)
        delta = va[c.angle_from] - va[c.angle_to]
        link = p[c.link_to] + c.link_ratio * p[c.link_from]
        pq = x[self.p.start : self.q.stop]
        segments = c.seg_slope * pq[c.seg_of] - x[self.y][c.seg_curve]
        return np.concatenate([net.real, net.imag, self._loads(x), delta, link, segments])

    def flows(self, x: Array) -> tuple[Array, Array]:
        """Complex power into every branch at its two ends [pu]."""
        c, vm = self.case, x[self.vm]
        voltage = vm * np.exp(1j * x[self.va])
        v_f, v_t = voltage[c.f], voltage[c.t]
        y_ff, y_ft, y_tf, y_tt = c.y
        return v_f * np.conj(y_ff * v_f + y_ft * v_t), v_t * np.conj(y_tf * v_f + y_tt * v_t)

    def _loads(self, x: Array) -> Array:
        """|S|² or |I|² at the limited ends of branches."""
        c = self.case
        s_f, s_t = self.flows(x)
        at_from = c.flow_end == 0
        power = np.where(at_from, s_f[c.flow_branch], s_t[c.flow_branch])
        squared = power.real**2 + power.imag**2
        if self.current:
            bus = np.where(at_from, c.f[c.flow_branch], c.t[c.flow_branch])
            squared = squared / x[self.vm][bus] ** 2
        return np.asarray(squared)

    def _terms(self, x: Array) -> tuple[Terms, Terms]:
        """S_f and S_t of every branch."""
        c, va, vm = self.case, x[self.va], x[self.vm]
        v_f, v_t = vm[c.f], vm[c.t]
        y_ff, y_ft, y_tf, y_tt = np.conj(c.y)
        turn = np.exp(1j * (va[c.f] - va[c.t]))
        a, b = y_ft * turn, y_tf * np.conj(turn)
        none = np.zeros_like(a)
        at_from = Terms(
            y_ff * v_f**2 + a * v_f * v_t,
            np.stack([1j * a * v_f * v_t, 2 * y_ff * v_f + a * v_t, a * v_f]),
            np.stack([-a * v_f * v_t, 1j * a * v_t, 1j * a * v_f, 2 * y_ff, a, none]),
        )
        at_to = Terms(
            y_tt * v_t**2 + b * v_f * v_t,
            np.stack([-1j * b * v_f * v_t, b * v_t, 2 * y_tt * v_t + b * v_f]),
            np.stack([-b * v_f * v_t, -1j * b * v_t, -1j * b * v_f, none, b, 2 * y_tt]),
        )
        return at_from, at_to

    def _limited(self, x: Array, ends: tuple[Terms, Terms]) -> Terms:
        """|S|² or |I|² at the limited ends."""
        c = self.case
        if self.current:
            return self._currents(x)
        at_from, branch = c.flow_end == 0, c.flow_branch
        s, first, second = (
            np.where(at_from, one[..., branch], other[..., branch])
            for one, other in zip(*ends, strict=True)
        )
        conj = np.conj(s)
        products = np.stack([(np.conj(first[i]) * first[j]).real for i, j in _SECOND])
        return Terms(
            (conj * s).real,
            2 * (conj * first).real,
            2 * (products + (conj * second).real),
        )

    def _currents(self, x: Array) -> Terms:
        c, va, vm = self.case, x[self.va], x[self.vm]
        branch, at_from = c.flow_branch, c.flow_end == 0
        f, t = c.f[branch], c.t[branch]
        v_f, v_t = vm[f], vm[t]
        y_ff, y_ft, y_tf, y_tt = c.y[:, branch]
        own_f, own_t = np.where(at_from, y_ff, y_tf), np.where(at_from, y_ft, y_tt)
        both = own_f * np.conj(own_t) * np.exp(1j * (va[f] - va[t]))
        a, b, re, im = np.abs(own_f) ** 2, np.abs(own_t) ** 2, both.real, both.imag
        return Terms(
            a * v_f**2 + b * v_t**2 + 2 * v_f * v_t * re,
            2 * np.stack([-v_f * v_t * im, a * v_f + v_t * re, b * v_t + v_f * re]),
            2 * np.stack([-v_f * v_t * re, -v_t * im, -v_f * im, a, re, b]),
        )

    # -- Jacobian ----------------------------------------------------------------------------------

    def _columns(self, branch: Array) -> Array:
        """Columns of θ_f, θ_t, V_f, V_t of branches, shape (4, m)."""
        c, n = self.case, self.case.n_bus
        f, t = c.f[branch], c.t[branch]
        return np.stack([f, t, n + f, n + t])

    def _place_jacobian(self) -> None:
        c, n = self.case, self.case.n_bus
        every = self._columns(np.arange(len(c.f)))
        limited = self._columns(c.flow_branch)
        bus, unit = np.arange(n), np.arange(len(c.unit_bus))
        places = [
            *((np.broadcast_to(at, every.shape), every) for at in (c.f, n + c.f, c.t, n + c.t)),
            (np.broadcast_to(_from(self.flow), limited.shape), limited),
            (bus, n + bus), (n + bus, n + bus),
            (c.unit_bus, self.p.start + unit), (n + c.unit_bus, self.q.start + unit),
            (_from(self.angle), c.angle_from), (_from(self.angle), c.angle_to),
            (_from(self.link), self.p.start + c.link_to),
            (_from(self.link), self.p.start + c.link_from),
            (_from(self.seg), self.p.start + c.seg_of),
            (_from(self.seg), self.y.start + c.seg_curve),
        ]  # fmt: skip
        self.jac_at = np.stack(
            [np.concatenate([np.ravel(place[i]) for place in places]) for i in (0, 1)]
        ).astype(np.int32)
        units, angles = np.ones(len(unit)), np.ones(len(c.angle_from))
        self._constant = np.concatenate([
            -units, -units, angles, -angles, np.ones(len(c.link_to)), c.link_ratio,
            c.seg_slope, -np.ones(len(c.seg_curve)),
        ])  # fmt: skip

    def jacobian(self, x: Array) -> Array:
        c, vm = self.case, x[self.vm]
        ends = self._terms(x)
        own = c.drawn_i + 2 * c.drawn_z * vm
        parts = []
        for end in ends:
            spread = _spread(end.first)
            parts += [spread.real, spread.imag]
        limited = _spread(self._limited(x, ends).first)
        flat = (np.ravel(part) for part in (*parts, limited))
        return np.concatenate([*flat, own.real, own.imag, self._constant])

    # -- Hessian -----------------------------------------------------------------------------------

    def _place_hessian(self) -> None:
        c, n = self.case, self.case.n_bus
        f, t = c.f, c.t
        pairs = ((f, f), (t, f), (t, t), (n + f, f), (n + f, t), (n + t, f), (n + t, t),
                 (n + f, n + f), (n + t, n + f), (n + t, n + t))  # fmt: skip
        bus = np.arange(n)
        pq = np.arange(self.p.start, self.q.stop)
        rows = np.concatenate([*(np.maximum(a, b) for a, b in pairs), n + bus, pq])
        cols = np.concatenate([*(np.minimum(a, b) for a, b in pairs), n + bus, pq])
        self.hess_at = np.stack([rows, cols]).astype(np.int32)

    def hessian(self, x: Array, weight: float, multipliers: Array) -> Array:
        c = self.case
        p, q, flow = (multipliers[part] for part in (self.rows_p, self.rows_q, self.flow))
        ends = self._terms(x)
        h = np.zeros((6, len(c.f)))
        for end, bus in zip(ends, (c.f, c.t), strict=True):
            h += p[bus] * end.second.real + q[bus] * end.second.imag
        if len(flow):
            limited = flow * self._limited(x, ends).second
            for row in range(6):
                h[row] += np.bincount(c.flow_branch, limited[row], len(c.f))
        dd, df, dt, ff, ft, tt = h
        angles = (dd, -dd, dd, df, -df, dt, -dt, ff, ft, tt)
        own = 2 * (p * c.drawn_z.real + q * c.drawn_z.imag)
        return np.concatenate([*angles, own, 2 * c.cost2 * weight])

    # -- judging -----------------------------------------------------------------------------------

    def kkt(self, found: Found) -> Optimality:
        """How far an outcome is from optimality, from our own functions."""
        x, multipliers = found.x, found.multipliers
        g, z_lo, z_hi = self.constraints(x), found.z_lo, found.z_hi
        jacobian = coo_matrix((self.jacobian(x), tuple(self.jac_at)), (len(g), self.size))
        gradient = self.gradient(x)
        stationary = gradient + jacobian.T @ multipliers + z_hi - z_lo
        stationary = stationary[self.x_lo < self.x_hi]
        beyond = [_beyond(x, self.x_lo, self.x_hi), _beyond(g, self.g_lo, self.g_hi)]
        products = [
            z_lo * _distance(x, self.x_lo), z_hi * _distance(self.x_hi, x),
            np.maximum(multipliers, 0) * _distance(self.g_hi, g),
            np.maximum(-multipliers, 0) * _distance(g, self.g_lo),
        ]  # fmt: skip
        gap = sum(float(np.abs(part).sum()) for part in products)
        largest = max(np.abs(gradient).max(initial=0), np.abs(multipliers).max(initial=0), 1e-9)
        return Optimality(
            stationarity=float(np.abs(stationary).max(initial=0) / largest),
            mismatch_mva=float(max(part.max(initial=0) for part in beyond) * self.case.s_mva),
            gap=gap / max(1.0, abs(self.objective(x))),
        )

    # -- where to start ----------------------------------------------------------------------------

    @functools.cached_property
    def start(self) -> Array:
        """Between the limits, all angles turned with the sources'."""
        c = self.case
        x = np.zeros(self.size)
        x[self.va] = c.va_start
        x[self.vm] = _between(c.vm_lo, c.vm_hi, np.ones(c.n_bus))
        x[self.p] = _between(c.p_lo, c.p_hi, c.p_start)
        x[self.q] = _between(c.q_lo, c.q_hi, c.q_start)
        pq = x[self.p.start : self.q.stop]
        worth = c.seg_slope * pq[c.seg_of] + c.seg_constant
        start = np.full(c.n_curve, -np.inf)
        np.maximum.at(start, c.seg_curve, worth)
        x[self.y] = start
        return x


class Elastic:
    """The programme in which limits may give way, at the least sum of how far they do.

    Every limit has a slack of its own, measured in hundredths of what it limits. The sum of
    absolute values leaves most limits alone and so names few that are in the way.
    """

    def __init__(self, rigid: Optimum) -> None:
        self.rigid = r = rigid
        c, n = r.case, r.size
        soft = np.zeros(n, dtype=bool)
        soft[r.vm], soft[r.p], soft[r.q] = True, ~c.fixed, ~c.fixed
        bounds = []
        for sign, limit in ((1.0, r.x_lo), (-1.0, r.x_hi)):
            at = np.flatnonzero(soft & np.isfinite(limit))
            bounds.append((at, np.full(len(at), sign), limit[at]))
        self.at, self.sign, limit = map(np.concatenate, zip(*bounds, strict=True))
        power = max(np.abs(c.drawn).max(initial=0), np.abs(c.drawn_dc).max(initial=0), 1e-3)
        weight = np.where(self.at < 2 * c.n_bus, 1.0, np.maximum(np.abs(limit), power))
        self.scale = 0.01 * np.where(weight == 0, 1.0, weight)
        # Branches: |S|² ≤ (limit + slack)²; angles: the slack is on the difference.
        rows = [
            np.flatnonzero(np.isfinite(r.g_hi[part])) + part.start for part in (r.flow, r.angle)
        ]
        low = np.flatnonzero(np.isfinite(r.g_lo[r.angle])) + r.angle.start
        self.rows = np.concatenate([*rows, low])
        self.row_sign = np.concatenate([-np.ones(len(rows[0]) + len(rows[1])), np.ones(len(low))])
        self.row_scale = np.full(len(self.rows), 0.01)
        self.flows = len(rows[0])
        self.flow_limit = c.flow_limit[rows[0] - r.flow.start]
        self.flow_scale = 0.01 * self.flow_limit
        b, k = len(self.at), len(self.rows)
        self.bounds, self.giving = slice(n, n + b), slice(n + b, n + b + k)
        free_lo, free_hi = r.x_lo.copy(), r.x_hi.copy()
        free_lo[soft], free_hi[soft] = -np.inf, np.inf
        free_lo[r.vm] = np.minimum(r.x_lo[r.vm], 0.1)
        free_hi[r.vm] = np.maximum(r.x_hi[r.vm], 2.0)
        self.x_lo = np.concatenate([free_lo, np.zeros(b + k)])
        self.x_hi = np.concatenate([free_hi, np.full(b + k, np.inf)])
        low_side = self.sign > 0
        self.g_lo = np.concatenate([r.g_lo, np.where(low_side, limit, -np.inf)])
        self.g_hi = np.concatenate([r.g_hi, np.where(low_side, np.inf, limit)])
        m = len(r.g_lo)
        own = m + np.arange(b)
        slacks = np.arange(n, n + b + k)
        self.jac_at = np.concatenate([
            r.jac_at, np.stack([self.rows, slacks[b:]]), np.stack([own, self.at]),
            np.stack([own, slacks[:b]]),
        ], axis=1).astype(np.int32)  # fmt: skip
        flows = slacks[b : b + self.flows]
        self.hess_at = np.concatenate([r.hess_at, np.stack([flows, flows])], axis=1)
        self.hess_at = self.hess_at.astype(np.int32)
        self._flow_rows = self.rows[: self.flows]
        self._constant = np.concatenate(
            [(self.row_sign * self.row_scale)[self.flows :], np.ones(b), self.sign * self.scale]
        )

    @property
    def start(self) -> Array:
        r = self.rigid
        x = np.where(np.isfinite(r.start), r.start, 0)
        return np.concatenate([x, np.ones(len(self.at) + len(self.rows))])

    def objective(self, x: Array) -> float:
        return float(x[self.rigid.size :].sum())

    def gradient(self, x: Array) -> Array:
        found = np.ones(len(x))
        found[: self.rigid.size] = 0
        return found

    def constraints(self, x: Array) -> Array:
        r = self.rigid
        g = r.constraints(x[: r.size])
        given = self.row_sign * self.row_scale * x[self.giving]
        g[self.rows[self.flows :]] += given[self.flows :]
        g[self._flow_rows] += self.flow_limit**2 - self._widened(x) ** 2
        own = x[: r.size][self.at] + self.sign * self.scale * x[self.bounds]
        return np.concatenate([g, own])

    def jacobian(self, x: Array) -> Array:
        flows = -2 * self._widened(x) * self.flow_scale
        return np.concatenate([self.rigid.jacobian(x[: self.rigid.size]), flows, self._constant])

    def _widened(self, x: Array) -> Array:
        """The limits of branches with their slacks."""
        return self.flow_limit + self.flow_scale * x[self.giving][: self.flows]

    def hessian(self, x: Array, weight: float, multipliers: Array) -> Array:
        r = self.rigid
        own = -2 * multipliers[self._flow_rows] * self.flow_scale**2
        return np.concatenate([r.hessian(x[: r.size], 0.0, multipliers[: len(r.g_lo)]), own])


def _between(lo: Array, hi: Array, otherwise: Array) -> Array:
    """The middle of two limits; near the only one; or something else where there is none."""
    both = np.isfinite(lo) & np.isfinite(hi)
    with np.errstate(invalid="ignore"):
        return np.where(both, (lo + hi) / 2, np.clip(otherwise, lo, hi))


def _beyond(values: Array, lo: Array, hi: Array) -> Array:
    return np.maximum(np.maximum(lo - values, values - hi), 0)


def _distance(above: Array, below: Array) -> Array:
    """How far two values are apart; nothing where there is no limit."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(above - below, nan=0.0, posinf=0.0, neginf=0.0)


def _from(rows: slice) -> Array:
    return np.arange(rows.start, rows.stop)


def _spread(first: Array) -> Array:
    """Derivatives after (δ, V_f, V_t) as those after (θ_f, θ_t, V_f, V_t)."""
    return np.stack([first[0], -first[0], first[1], first[2]])
