"""Where to turn the angles of sources: the positive sequence's equations, for directions only.

What an angle does, the engine says; these functions tell where to start and where to turn next.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, diags, hstack, vstack
from scipy.sparse.linalg import splu

from electrisim.network import Array
from electrisim.problems import NotConvergedError
from electrisim.transformers import TwoPorts
from opendss_circuit import Circuit, siemens

#: The farthest that one step turns an angle [rad].
FARTHEST = np.pi / 4


def admittance(
    circuit: Circuit,
    branches: Sequence[tuple[Array, TwoPorts]],
    earth: Sequence[tuple[Array, Array]],
) -> csr_matrix:
    """The nodal admittance matrix of branches and of admittances to earth [S]."""
    entries = [(node, node, y) for node, y in earth]
    for nodes, ports in branches:
        one, other = nodes.T
        y = siemens(ports, *circuit.vn_kv[nodes].T)
        entries += zip((one, one, other, other), (one, other, one, other), y, strict=True)
    rows, columns, values = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    size = len(circuit.nodes)
    return csr_matrix(coo_matrix((values, (rows, columns)), shape=(size, size)))


def load_admittance(circuit: Circuit) -> csr_matrix:
    """What draws constant power, as admittances [S]."""
    y = np.zeros(len(circuit.nodes), dtype=complex)
    for node, mva in circuit.constant:
        np.add.at(y, node, np.conj(mva) / circuit.vn_kv[node] ** 2)
    return csr_matrix(diags(y))


def linear_angles(
    circuit: Circuit,
    branches: Sequence[tuple[Array, TwoPorts]],
    power_mw: Array,
    fixed: Array,
    angle: Array,
) -> Array:
    """Angles of all nodes in the linearised power flow [rad].

    power_mw  delivered at each node by what holds its voltage
    fixed     nodes whose `angle` is given
    """
    one, other = np.concatenate([nodes for nodes, _ in branches]).T
    b = np.concatenate([ports.susceptance() for _, ports in branches])
    shift = np.angle(np.concatenate([ports.ratio for _, ports in branches]))
    power = power_mw.copy()
    for node, mva in circuit.constant:
        np.add.at(power, node, -mva.real)
    np.add.at(power, one, b * shift)
    np.add.at(power, other, -b * shift)
    rows = np.concatenate([one, other, one, other])
    columns = np.concatenate([one, other, other, one])
    size = len(power)
    matrix = csr_matrix(
        coo_matrix((np.concatenate([b, b, -b, -b]), (rows, columns)), shape=(size, size))
    )
    found = angle.copy()
    turning = np.setdiff1d(rows, fixed)
    right = power - matrix @ angle
    found[turning] = _solve(matrix[turning][:, turning], right[turning])
    return found


def newton_step(
    y: csr_matrix, injected: Array, voltage: Array, fixed: Array, free: Array, missing: Array
) -> Array:
    """By how much to turn the angles of free nodes [rad] so that `missing` power is delivered [MW].

    injected  what sources behind an impedance, which is in y, bring as currents [MVA/kV]

    The unknowns are the angles everywhere but at fixed nodes, and ln |V| where no voltage is held;
    the engine has met all other equations at `voltage` already.
    """
    used = np.flatnonzero(~np.isnan(voltage))
    number = np.full(len(voltage), -1)
    number[used] = np.arange(len(used))
    v, y = diags(voltage[used]), y[used][:, used]
    current = diags(y @ voltage[used] - injected[used])
    by_angle = csr_matrix(1j * v @ (current - y @ v).conj())
    by_magnitude = csr_matrix(v @ (current + y @ v).conj())
    turning = np.setdiff1d(np.arange(len(used)), number[fixed])
    open_ = np.setdiff1d(turning, number[free])
    jacobian = vstack(
        [
            hstack([by_angle[turning][:, turning].real, by_magnitude[turning][:, open_].real]),
            hstack([by_angle[open_][:, turning].imag, by_magnitude[open_][:, open_].imag]),
        ]
    )
    wanted = np.zeros(len(used))
    wanted[number[free]] = missing
    turned = np.zeros(len(used))
    right = np.concatenate([wanted[turning], np.zeros(len(open_))])
    turned[turning] = _solve(csr_matrix(jacobian), right)[: len(turning)]
    step = turned[number[free]]
    return np.asarray(step / max(1.0, np.abs(step).max(initial=0) / FARTHEST))


def _solve(matrix: csr_matrix, right: Array) -> Array:
    try:
        return np.asarray(splu(matrix.tocsc()).solve(right))
    except RuntimeError as error:
        raise NotConvergedError("The network's equations are singular.") from error
