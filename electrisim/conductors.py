"""Lines and switches conductor by conductor: their impedance and admittance matrices.

A line of which sequence values are given is a transposed one: Z_s = (2·Z1 + Z0)/3 on the diagonal,
Z_m = (Z0 − Z1)/3 beside it, and capacitances and leakage alike. Of one conductor the values are its
own, the earth's return included.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from electrisim.branches import SWITCH_RX, ends_kv, line_warming, ohmic
from electrisim.network import Array, Network, Rows
from electrisim.phasing import ALL, MATRICES, fixed, numbers, present, words
from electrisim.settings import Settings
from electrisim.transformers import TwoPorts


class Conductors(NamedTuple):
    """Conductors by phase, 0 in the rows and columns of phases that an element lacks.

    has  which phases it has, shape (n, 3)
    z    series impedance [Ω], shape (n, 3, 3)
    y    admittance of either end: half of the capacitance and leakage [S], shape (n, 3, 3)
    """

    has: Array
    z: Array
    y: Array

    def series(self) -> Array:
        """The inverse of z among the phases that there are [S]."""
        absent = np.einsum("ij,jk->ijk", ~self.has, np.eye(3))
        z = self.z + absent
        solvable = np.linalg.det(z) != 0
        z[~solvable] = np.nan
        return np.asarray(np.linalg.inv(z) - absent)


def by_matrix(rows: Rows) -> Array:
    """Which lines are told by matrices, or have fewer conductors than three, shape (n,)."""
    matrices = rows.values(MATRICES[0])
    return np.array(
        [
            matrix is not None or word != ALL
            for matrix, word in zip(matrices, words(rows), strict=True)
        ],
        dtype=bool,
    )


def of_lines(network: Network, rows: Rows, settings: Settings) -> Conductors:
    """Of lines in full: all their systems in parallel, over their whole length."""
    key = "conductors", network.frequency_hz, settings.consider_line_temperature
    return rows.derived(key, lambda: _of_lines(network, rows, settings))


def series_of_lines(network: Network, rows: Rows, settings: Settings) -> Array:
    """`Conductors.series` of lines [S]."""
    key = "series", network.frequency_hz, settings.consider_line_temperature
    return rows.derived(key, lambda: fixed(of_lines(network, rows, settings).series()))


def _of_lines(network: Network, rows: Rows, settings: Settings) -> Conductors:
    has, word_of = present(rows), np.array(words(rows), dtype=object)
    z, y = _from_sequences(network, rows, settings, has)
    r, x, c = map(rows.values, MATRICES)
    told = np.array([matrix is not None for matrix in r], dtype=bool)
    omega = 2e-9 * np.pi * network.frequency_hz
    for word in set(word_of[told]):
        here = np.flatnonzero(told & (word_of == word))
        conductors = np.array(numbers(word))
        block = np.ix_(here, conductors, conductors)
        z[block] = _symmetric(r, here, len(word)) + 1j * _symmetric(x, here, len(word))
        leaks = 1e-6 * rows.column("g_us_per_km")[here, None, None] * np.eye(len(word))
        y[block] = leaks + 1j * omega * _symmetric(c, here, len(word))
    length, parallel = (rows.column(name)[:, None, None] for name in ("length_km", "parallel"))
    return Conductors(has, fixed(z * length / parallel), fixed(y * length * parallel / 2))


def _symmetric(triangles: Sequence[Any], here: Array, size: int) -> Array:
    """Matrices of some rows from their lower triangles; nothing where there is none."""
    entries = size * (size + 1) // 2
    nothing = [0.0] * entries
    chosen = [triangles[row] for row in here.tolist()]
    flat = [nothing if each is None else list(itertools.chain(*each)) for each in chosen]
    below, beside = np.tril_indices(size)
    found = np.empty((len(here), size, size))
    found[:, below, beside] = found[:, beside, below] = np.array(flat)
    return found


def _from_sequences(
    network: Network, rows: Rows, settings: Settings, has: Array
) -> tuple[Array, Array]:
    """Matrices per kilometre [Ω, S] of transposed lines, and of single conductors."""
    one = has.sum(axis=1) == 1
    r = rows.column("r_ohm_per_km")
    if settings.consider_line_temperature:
        r = r * line_warming(rows)
    omega = 2e-9 * np.pi * network.frequency_hz
    z1 = r + 1j * rows.column("x_ohm_per_km")
    z0 = rows.column("r0_ohm_per_km") + 1j * rows.column("x0_ohm_per_km")
    y1 = 1e-6 * rows.column("g_us_per_km") + 1j * omega * rows.column("c_nf_per_km")
    g0 = np.where(has.all(axis=1), np.nan_to_num(rows.column("g0_us_per_km")), y1.real * 1e6)
    y0 = 1e-6 * g0 + 1j * omega * rows.column("c0_nf_per_km")
    return _matrix(z1, np.where(one, z1, z0), has), _matrix(y1, np.where(one, y1, y0), has)


def _matrix(positive: Array, zero: Array, has: Array) -> Array:
    """(2·positive + zero)/3 on the diagonal, (zero − positive)/3 beside it, by conductor."""
    mutual = ((zero - positive) / 3)[:, None, None]
    whole = positive[:, None, None] * np.eye(3) + mutual
    return np.where(has[:, :, None] & has[:, None, :], whole, 0)


def of_switches(rows: Rows) -> Conductors:
    """Of switches with an impedance, the same in each pole."""
    has = present(rows).copy()
    z = rows.column("z_ohm") * (SWITCH_RX + 1j) / np.hypot(SWITCH_RX, 1)
    whole = z[:, None, None] * np.einsum("ij,jk->ijk", has, np.eye(3))
    return Conductors(has, whole, np.zeros_like(whole))


def positive_sequence(network: Network, rows: Rows, settings: Settings) -> TwoPorts:
    """Lines of three conductors as the positive sequence sees them, were they transposed."""
    found = of_lines(network, rows, settings)
    z, y = (_own_less_mutual(matrices) for matrices in (found.z, found.y))
    return ohmic(z, y, *ends_kv(network, rows))


def _own_less_mutual(matrices: Array) -> Array:
    own = np.einsum("ijj->i", matrices)
    return np.asarray(own / 3 - (matrices.sum(axis=(1, 2)) - own) / 6)
