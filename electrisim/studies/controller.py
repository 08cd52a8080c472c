"""Power flow with its controllers acting: tap changers, stepped shunts, inverters, stations."""

from __future__ import annotations

from typing import Annotated, ClassVar

from electrisim.engine import Engines
from electrisim.fields import says
from electrisim.network import Network
from electrisim.problems import Problem, ProblemError
from electrisim.results import Answer
from electrisim.studies import powerflow


class Controller(powerflow.PowerFlow, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a power flow with controllers acting."""

    name: ClassVar[str] = "controller"

    run_control: Annotated[bool, says("Always true here; powerflow is the study without.")] = True


def run(network: Network, settings: Controller, engines: Engines) -> Answer:
    """Solve the network with its controllers where they settle, and certify the answer.

    Raises ProblemError and NotConvergedError.
    """
    if not settings.run_control:
        message = "The study controller always runs control; powerflow does without it."
        raise ProblemError([Problem(kind="contradiction", message=message, field="run_control")])
    return powerflow.run(network, settings, engines)
