"""Newton's method on the power flow equations, damped, and how far a network can be loaded.

The steps are damped so that where there is no solution the iteration ends near the point of least
mismatch instead of running away (S. Iwamoto, Y. Tamura, "A load flow calculation method for
ill-conditioned power systems", IEEE Trans. PAS-100, 1981: the same idea with a polynomial).
"""

from __future__ import annotations

import functools
import time
import warnings
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix
from scipy.sparse.csgraph import breadth_first_order
from scipy.sparse.linalg import MatrixRankWarning, splu

from electrisim.doctor.equations import Equations
from electrisim.network import Array

#: The largest mismatch of a solution, of the largest admittance or power at a node [1, MVA].
RELATIVE, ABSOLUTE_MVA = 1e-9, 1e-6
ITERATIONS = 12
#: The shortest share of a Newton step that is tried.
SHORTEST = 1 / 16
#: Up to so many unknowns a full matrix is solved faster than a sparse one.
DENSE = 120
#: How near the last solvable point is found, as a share of the load.
NEAR = 0.004


class State(NamedTuple):
    """Where an iteration ended.

    voltage   complex, shape (count,)
    mismatch  what is missing at each node [MVA], shape (count,)
    solved    whether it is a solution
    """

    voltage: Array
    mismatch: Array
    solved: bool


class Newton:
    """The equations, ready to be solved."""

    def __init__(self, equations: Equations) -> None:
        self.equations = q = equations
        self._y = csr_matrix(q.y)
        self._y.sum_duplicates()
        self.angles = np.flatnonzero(~q.reference)
        self.magnitudes = np.flatnonzero(~q.held)
        self._columns = self._y.indices
        self._rows = np.repeat(np.arange(q.count), np.diff(self._y.indptr))
        self._theta = _numbered(self.angles, q.count)
        self._vm = _numbered(self.magnitudes, q.count)
        self.size = len(self.angles) + len(self.magnitudes)
        scale = max(np.abs(self._y.data).max(initial=0.0), np.abs(q.constant).max(initial=0.0))
        self.tolerance_mva = max(ABSOLUTE_MVA, RELATIVE * scale)

    # -- the start

    @functools.cached_property
    def start(self) -> Array:
        """Voltages as the ratios and phase shifts of the branches hand them on from the sources."""
        q, branch = self.equations, self.equations.branch
        voltage = np.where(q.held, q.target, 1.0 + 0j)
        known = q.reference.copy()
        count = q.count
        joined = np.ones(2 * len(branch.f))
        graph = csr_matrix(
            (joined, (np.r_[branch.f, branch.t], np.r_[branch.t, branch.f])), (count, count)
        )
        step: dict[tuple[int, int], complex] = {}
        for f, t, ratio in zip(
            branch.f.tolist(), branch.t.tolist(), branch.ratio.tolist(), strict=True
        ):
            step.setdefault((f, t), 1 / ratio)
            step.setdefault((t, f), ratio)
        for root in [*np.flatnonzero(q.reference).tolist(), *range(count)]:
            if known[root] and not q.reference[root]:
                continue
            order, before = breadth_first_order(graph, root, directed=False)
            known[root] = True
            for node in order[1:].tolist():
                if known[node]:
                    continue
                known[node] = True
                came = voltage[before[node]] * step[int(before[node]), node]
                held = np.abs(q.target[node]) if q.held[node] else np.abs(came)
                voltage[node] = came / np.abs(came) * held
        return np.asarray(voltage)

    # -- one point

    def mismatch(self, voltage: Array, load: float) -> Array:
        """What leaves every node too much [MVA]."""
        q = self.equations
        through = voltage * np.conj(self._y @ voltage)
        return np.asarray(through + load * (q.constant + q.linear * np.abs(voltage)))

    def residual(self, mismatch: Array) -> Array:
        return np.concatenate([mismatch.real[self.angles], mismatch.imag[self.magnitudes]])

    def jacobian(self, voltage: Array, load: float) -> csc_matrix:
        """Derivatives of P at nodes with a free angle and Q at those with a free magnitude."""
        q = self.equations
        vm = np.abs(voltage)
        rows, columns = self._rows, self._columns
        term = voltage[rows] * np.conj(self._y.data * voltage[columns])
        through = voltage * np.conj(self._y @ voltage)
        each = np.arange(q.count)
        i, j = np.r_[rows, each], np.r_[columns, each]
        by_angle = np.r_[-1j * term, 1j * through]
        by_vm = np.r_[term / vm[columns], through / vm + load * q.linear]
        p_row, q_row = self._theta[i], np.where(self._vm[i] < 0, -1, self._vm[i])
        q_row = np.where(q_row < 0, -1, q_row + len(self.angles))
        a_col = self._theta[j]
        m_col = np.where(self._vm[j] < 0, -1, self._vm[j] + len(self.angles))
        parts = (
            (p_row, a_col, by_angle.real),
            (p_row, m_col, by_vm.real),
            (q_row, a_col, by_angle.imag),
            (q_row, m_col, by_vm.imag),
        )
        at = [(row >= 0) & (column >= 0) for row, column, _ in parts]
        data = np.concatenate([value[use] for (_, _, value), use in zip(parts, at, strict=True)])
        ends = [
            np.concatenate([part[k][use] for part, use in zip(parts, at, strict=True)])
            for k in (0, 1)
        ]
        return csc_matrix((data, (ends[0], ends[1])), (self.size, self.size))

    def solve(self, start: Array | None = None, load: float = 1.0) -> State:
        """The solution near a start, or the point where no step makes the mismatch smaller."""
        voltage = self.start if start is None else start
        with np.errstate(all="ignore"):
            mismatch = self.mismatch(voltage, load)
            residual = self.residual(mismatch)
            for _ in range(ITERATIONS):
                error = np.abs(residual).max(initial=0.0)
                if not np.isfinite(error) or error <= self.tolerance_mva:
                    break
                step = factored(self.jacobian(voltage, load)).solve(-residual)
                found = self._damped(voltage, step, residual, load)
                if found is None:
                    break
                voltage, mismatch, residual = found
        error = np.abs(residual).max(initial=0.0)
        return State(voltage, mismatch, bool(error <= self.tolerance_mva))

    def _damped(
        self, voltage: Array, step: Array, residual: Array, load: float
    ) -> tuple[Array, Array, Array] | None:
        """The longest of the halved steps that makes the mismatch smaller."""
        if not np.isfinite(step).all():
            return None
        before = np.linalg.norm(residual)
        turn, grow = np.zeros(len(voltage)), np.zeros(len(voltage))
        turn[self.angles] = step[: len(self.angles)]
        grow[self.magnitudes] = step[len(self.angles) :]
        share = 1.0
        while share >= SHORTEST:
            vm = np.abs(voltage) + share * grow
            if (vm > 0).all():
                moved = vm * np.exp(1j * (np.angle(voltage) + share * turn))
                mismatch = self.mismatch(moved, load)
                after = self.residual(mismatch)
                if np.linalg.norm(after) <= (1 - 0.1 * share) * before:
                    return moved, mismatch, after
            share /= 2
        return None


class _Nothing:
    """The factors of a matrix that has none."""

    def __init__(self, size: int) -> None:
        self._size = size

    def solve(self, b: Array, trans: str = "N") -> Array:
        return np.full(self._size, np.nan)


class _Dense:
    """The factors of a small matrix: the matrix itself."""

    def __init__(self, matrix: Array) -> None:
        self._matrix = matrix

    def solve(self, b: Array, trans: str = "N") -> Array:
        try:
            return np.linalg.solve(self._matrix.T if trans == "T" else self._matrix, b)
        except np.linalg.LinAlgError:
            return np.full(len(b), np.nan)


def factored(matrix: csc_matrix) -> Any:
    """Something with `solve`; what it returns for a singular matrix is not finite."""
    if not np.isfinite(matrix.data).all():
        return _Nothing(matrix.shape[0])
    if matrix.shape[0] <= DENSE:
        return _Dense(matrix.toarray())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MatrixRankWarning)
            return splu(matrix)
    except RuntimeError:
        # SuperLU: the factor is exactly singular.
        return _Nothing(matrix.shape[0])


def _numbered(chosen: Array, count: int) -> Array:
    number = np.full(count, -1)
    number[chosen] = np.arange(len(chosen))
    return number


# -- how far it can be loaded ----------------------------------------------------------------------


class Nose(NamedTuple):
    """The last solvable point on the way from nothing drawn and generated to all of it.

    load     share of the constant powers at which there still is a solution, 1 for all of them;
             None where there is none even without them
    voltage  there
    at_rest  without them; where there is no solution, the nearest point that was found
    """

    load: float | None
    voltage: Array
    at_rest: Array


def nose(newton: Newton, deadline_s: float) -> Nose:
    """Follow the solution from no load on, in steps that are halved where there is none.

    deadline_s  on the monotonic clock
    """
    state = newton.solve(load=0.0)
    if not state.solved:
        return Nose(None, state.voltage, state.voltage)
    load, step, rest = 0.0, 1.0, state.voltage
    while load < 1 and step > NEAR * max(load, NEAR) and time.monotonic() < deadline_s:
        further = min(load + step, 1.0)
        found = newton.solve(state.voltage, further)
        if found.solved:
            load, state = further, found
            step *= 1.5
        else:
            step /= 2
    return Nose(load, state.voltage, rest)


class Direction(NamedTuple):
    """What collapses near the nose: the singular vectors of the smallest singular value.

    falls   by which share each node's voltage takes part in the collapse, 1 for the most
    p, q    how much each node's active and reactive power does towards it, 1 for the most
    """

    falls: Array
    p: Array
    q: Array


def singular_direction(newton: Newton, voltage: Array, load: float) -> Direction | None:
    """By inverse iteration on JᵀJ; None where the Jacobian says nothing."""
    if not newton.size:
        return None
    with np.errstate(all="ignore"):
        factors = factored(newton.jacobian(voltage, load))
        right = np.ones(newton.size)
        left = right
        for _ in range(8):
            left = factors.solve(right, trans="T")
            right = factors.solve(left / np.linalg.norm(left))
            right = right / np.linalg.norm(right)
    left = left / np.linalg.norm(left)
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return None
    count, angles = newton.equations.count, len(newton.angles)
    falls, p, q = np.zeros(count), np.zeros(count), np.zeros(count)
    falls[newton.magnitudes] = right[angles:]
    if not falls.any():
        falls[newton.angles] = right[:angles]
    p[newton.angles] = left[:angles]
    q[newton.magnitudes] = left[angles:]
    largest = max(np.abs(p).max(initial=0.0), np.abs(q).max(initial=0.0), 1e-300)
    drawn = newton.equations.constant
    sign = np.sign((drawn.real * p + drawn.imag * q).sum()) or 1.0
    return Direction(
        np.abs(falls) / max(np.abs(falls).max(), 1e-300), sign * p / largest, sign * q / largest
    )
