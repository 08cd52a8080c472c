"""Whether a solution is accepted. The engine's own flag is evidence, not a verdict."""

from __future__ import annotations

import math

import numpy as np

from electrisim.feeder.model import Case, Options, Solved, asked_kw
from electrisim.feeder.refusals import refused
from electrisim.feeder.tables import Feeder

#: How far what is delivered may be from what was asked for: half a percent, or 1 W.
DELIVERY, LEAST_KW = 0.005, 0.001

#: The largest sum of powers at a node of a solution [kVA]. The engine leaves about 1e-5.
MISMATCH_KVA = 0.1


def judge(feeder: Feeder, options: Options, case: Case, solved: Solved) -> None:
    """Raise ProblemError unless the solution is one, and gives what was asked for.

    The engine calls converged what is none: it makes an impedance of every load and generator whose
    voltage leaves a band, and then delivers a fraction of the power. So the solution must balance
    at every node, every unit must deliver what was asked of it, and all loads together what their
    models ask for at the solved voltages.
    """
    finite = bool(np.isfinite(solved.voltages).all()) and math.isfinite(solved.mismatch_kva)
    if not (solved.converged and finite and solved.mismatch_kva <= MISMATCH_KVA):
        raise refused(
            "not-converged", "The power flow has no solution: the feeder cannot carry this."
        )
    for unit, delivered in zip(case.units, solved.units, strict=True):
        if not delivers(unit.kw, float(delivered.sum().real)):
            message = (
                f"{abs(unit.kw):g} kW were asked for at bus {unit.bus}, and "
                f"{abs(delivered.sum().real):.4g} kW would be delivered: its voltage leaves the "
                "range in which a unit keeps its power."
            )
            raise refused("not-delivered", message, element=unit.bus)
    asked, delivered_kw = asked_kw(feeder, options, case, solved.voltages), solved.loads.sum().real
    if not delivers(asked, float(delivered_kw)):
        message = (
            f"The loads ask for {asked:.6g} kW and would be given {delivered_kw:.6g} kW: "
            "voltages leave the range in which loads can be served."
        )
        raise refused("not-delivered", message)


def delivers(asked_kw: float, delivered_kw: float) -> bool:
    """Whether so much is what was asked for; never when it is not a number."""
    return abs(delivered_kw - asked_kw) <= max(DELIVERY * abs(asked_kw), LEAST_KW)
