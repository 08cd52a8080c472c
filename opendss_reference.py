"""OpenDSS as the referee of an import: solves commands of ours in a process of its own.

EPRI's build, in the guarded child; where the server has only the DSS C-API, that.
"""

from __future__ import annotations

import importlib.util

from electrisim.dss.parity import Solved
from opendss_bindings import Bindings, EngineError


class Referee:
    """Solves commands; in the words of `electrisim.dss.commands`, and no others."""

    def __init__(self, bindings: Bindings) -> None:
        self._bindings = bindings
        has_child = importlib.util.find_spec("py_dss_interface") is not None
        self._binding = "py_dss_interface" if has_child else "opendssdirect"

    def __call__(self, commands: list[str]) -> Solved:
        with self._bindings.session(self._binding) as session:
            try:
                session.run(commands)
                converged = session.solve().converged
            except EngineError:
                return Solved(session.version, False, {})
            nodes = zip(session.node_names(), session.voltages().tolist(), strict=True)
            return Solved(session.version, converged, dict(nodes) if converged else {})
