"""The one judge: whether an answer is a solution, recomputed from its own numbers."""

from __future__ import annotations

import numpy as np

from electrisim import elements as e
from electrisim.balance import drawn_mva
from electrisim.network import Network
from electrisim.problems import NotConvergedError
from electrisim.results import Certificate, Tables
from electrisim.settings import Settings
from electrisim.topology import Topology

#: An answer is accepted within this, or this share of the largest bus throughput [MVA, 1].
ABSOLUTE_MVA, RELATIVE = 1e-3, 1e-6


def certify(
    network: Network, topology: Topology, settings: Settings, tables: Tables
) -> Certificate:
    """Certify an answer, or raise NotConvergedError with the evidence."""
    drawn, _ = drawn_mva(network, topology, tables, network.kinds)
    at_node = np.zeros_like(drawn)
    np.add.at(at_node, topology.node, drawn)
    at_node[~np.isin(np.arange(len(at_node)), topology.node[topology.bus])] = 0
    certificate = Certificate(
        max_p_mismatch_mw=float(np.abs(at_node.real).max()),
        max_q_mismatch_mvar=float(np.abs(at_node.imag).max()),
        max_setpoint_error_mw=0.0,
        max_setpoint_error_mvar=0.0,
    )
    if certificate.max_p_mismatch_mw > ABSOLUTE_MVA:
        worst = int(np.abs(at_node.real).argmax())
        raise NotConvergedError(
            f"The powers at {network.rows(e.Bus).label(worst)} do not add up.",
            certificate=certificate,
        )
    return certificate
