"""Reactive limits of generators, where pandapower leaves one at a limit that it would leave.

pandapower (`enforce_q_lims`) solves with every voltage held, puts whoever is beyond a limit there,
and repeats; nobody returns. What one generator took in because of another, before that one reached
its own limit, stays with it: it then sits at its lower limit although its voltage is too low. Such
a limit is taken away and the network is solved again. It is the answer where nobody is beyond what
was taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from electrisim import elements as e
from electrisim.network import Network
from electrisim.settings import Settings
from electrisim.topology import Topology
from pandapower_tables import Block

#: Closer to a limit or a set-point than this is at it [Mvar, pu].
AT_MVAR, AT_PU = 1e-6, 1e-7


class Limits:
    """The reactive limits of generators that pandapower gets to see.

    freed  field → which generators it is not told of, shape (n,)
    """

    def __init__(self, network: Network, topology: Topology, settings: Settings) -> None:
        self.rows = network.rows(e.Generator)
        self.acts = topology.alive(e.Generator) & ~self.rows.column("slack")
        self.acts &= settings.enforce_q_lims and not settings.linear
        self.freed = {
            name: np.zeros(len(self.rows), dtype=bool) for name in ("min_q_mvar", "max_q_mvar")
        }

    def applied(self, blocks: Sequence[Block]) -> Sequence[Block]:
        """The blocks without the limits that were taken away."""
        if not any(freed.any() for freed in self.freed.values()):
            return blocks
        return [self._without(block) if block.kind is e.Generator else block for block in blocks]

    def _without(self, block: Block) -> Block:
        limits = {
            name: np.where(freed, np.nan, block.columns[name]) for name, freed in self.freed.items()
        }
        return block._replace(columns={**block.columns, **limits})

    def settle(self, net: Any) -> bool:
        """Whether every generator is where it belongs; if not, the limits are changed."""
        if not self.acts.any():
            return True
        found = net["res_gen"].iloc[: len(self.rows)]
        q_mvar, vm_pu = (found[name].to_numpy(dtype=float) for name in ("q_mvar", "vm_pu"))
        lacking = self.rows.column("vm_pu") - vm_pu
        settled = True
        for name, sign in (("min_q_mvar", 1), ("max_q_mvar", -1)):
            inside = sign * (q_mvar - self.rows.column(name))
            freed = self.freed[name]
            leave = ~freed & (inside <= AT_MVAR) & (sign * lacking > AT_PU)
            beyond = freed & (inside < -AT_MVAR)
            wrong = self.acts & (leave | beyond)
            self.freed[name] = np.where(wrong, ~freed, freed)
            settled = settled and not wrong.any()
        return settled
