"""Why a network has no solution: causes, ranked, with the repair that was tried.

It is asked only after a study has failed, and never raises. Three ways lead to suspects:

    measures, levels  numbers and connections that are odd by themselves or beside the others
    loading           the way from no load to the last solvable point (homotopy), the branches that
                      hold the voltage there, and what the Jacobian's singular vectors name
    examination       settings with which the engine does not reach a solution that there is

Every repair is first tried on the network's own equations (`equations`, `newton`), which costs
milliseconds, and the likeliest are tried again on the engine, certificate included.
"""

from __future__ import annotations

import logging
from typing import Any

from electrisim.doctor.case import Edit, Repair, repaired
from electrisim.doctor.examination import examine, told
from electrisim.doctor.rules import RULES
from electrisim.engine import Engine
from electrisim.network import Network
from electrisim.problems import NotConvergedError
from electrisim.settings import Settings

__all__ = ["RULES", "Edit", "Repair", "diagnosed", "diagnosis", "repaired"]

#: No repair is tried after this long [s]; one that has begun is finished.
SECONDS = 4.0

logger = logging.getLogger(__name__)


def diagnosis(
    engine: Engine, network: Network, settings: Settings, seconds: float = SECONDS
) -> list[dict[str, Any]]:
    """The likely causes of a failure as they stand in an answer, the likeliest first."""
    try:
        return [told(network, cause) for cause in examine(engine, network, settings, seconds)]
    except Exception:
        # The failure that the caller is told of must not give way to one of its examination.
        logger.exception("The examination of a network without solution failed.")
        return []


def diagnosed(
    error: NotConvergedError, engine: Engine, network: Network, settings: Settings
) -> NotConvergedError:
    """The error with the causes added to what it knew already."""
    known = error.extra["diagnosis"]
    found = diagnosis(engine, network, settings)
    sure = sum(bool(entry["verified"]) for entry in found)
    error.extra["diagnosis"] = [*found[:sure], *known, *found[sure:]]
    return error
