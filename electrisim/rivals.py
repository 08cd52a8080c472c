"""Two engines at the same request, solved as often as somebody doubts it.

Nothing here knows an engine: they are asked by the names of the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from electrisim.certificate import certify, severities
from electrisim.change import changed
from electrisim.engine import Engines
from electrisim.fields import fields_of
from electrisim.network import Network
from electrisim.problems import NotConvergedError, Problem, ProblemError
from electrisim.results import Answer, Certificate, Tables
from electrisim.settings import Settings
from electrisim.suspects import Suspect
from electrisim.topology import Topology

if TYPE_CHECKING:
    from electrisim.studies.powerflow import PowerFlow


class EngineReport(msgspec.Struct, frozen=True):
    """How one engine fared.

    status    solved; refuted: its answer contradicts the graph's data; no-solution; unsupported
    without   settings that only the other engine knows, and that are at their default here
    problems  why it has no answer, or what refutes it
    """

    asked: str
    name: str
    version: str
    status: str
    iterations: int | None = None
    certificate: Certificate | None = None
    without: list[str] = []
    problems: list[Problem] = []


class Outcome(NamedTuple):
    """One engine's answer, or why there is none.

    tables      what is compared: kind → column → (n,), or (steps, n) of a series or of outages;
                None without an answer
    severities  element id → how far its numbers are from its data, of what a certificate accepts
    """

    report: EngineReport
    answer: Answer | None = None
    tables: Tables | None = None
    severities: Mapping[str, float] = MappingProxyType({})


def as_told(answer: Answer) -> Tables:
    """The numbers of an answer as they stand in it."""
    return answer.series or answer.tables


class Bench:
    """Both engines ready to solve variants of one request.

    solve     the study, certified by itself or by nobody
    pair      the engines as the settings name them
    settings  of the study
    numbers   what of an answer is compared
    """

    def __init__(
        self,
        solve: Callable[..., Answer],
        pair: tuple[str, str],
        settings: PowerFlow,
        engines: Engines,
        numbers: Callable[[Answer], Tables] = as_told,
    ) -> None:
        self._solve = solve
        self._numbers = numbers
        self.pair = pair
        self.settings = settings
        self._engines = engines

    def solve(self, network: Network, without: Suspect | None = None) -> tuple[Outcome, Outcome]:
        """Both engines' outcomes, with a feature neutralised."""
        settings = self.settings
        if without:
            # A network's warnings would be told twice.
            network = changed(network, without.edits)
            settings = msgspec.structs.replace(settings, **without.settings)
        one, other = (self._on(asked, network, settings) for asked in self.pair)
        return one, other

    def _on(self, asked: str, network: Network, settings: PowerFlow) -> Outcome:
        solver = "pandapower" if asked == "pandapower" else "opendss"
        binding = asked if asked in BINDINGS else settings.binding
        settings = msgspec.structs.replace(settings, solver=solver, binding=binding)
        foreign: list[str] = []
        try:
            try:
                answer = self._solve(network, settings, self._engines)
            except ProblemError as error:
                foreign = _foreign(error)
                if not foreign:
                    raise
                settings = _at_default(settings, foreign)
                answer = self._solve(network, settings, self._engines)
        except ProblemError as error:
            if error.kind not in ("not-converged", "unsupported"):
                raise
            status = "no-solution" if error.kind == "not-converged" else "unsupported"
            report = EngineReport(
                asked, solver, "", status, without=foreign, problems=list(error.problems)
            )
            return Outcome(report)
        outcome = self._judged(asked, answer, network, settings)
        return outcome._replace(report=msgspec.structs.replace(outcome.report, without=foreign))

    def _judged(self, asked: str, answer: Answer, network: Network, settings: PowerFlow) -> Outcome:
        told = answer.engine
        own = answer.certificate
        certificate = own if isinstance(own, Certificate) else None
        status, problems = "solved", list[Problem]()
        found: Mapping[str, float] = {}
        if answer.series is None and certificate is None:
            network = answer.network or network
            # Controllers may have moved something.
            ended = answer.network or network
            topology = Topology(ended)
            try:
                certificate = certify(ended, topology, settings, answer.tables)
            except NotConvergedError as error:
                status, certificate = "refuted", error.extra["certificate"]
                problems = list(error.problems)
            found = severities(ended, topology, settings, answer.tables)
        report = EngineReport(
            asked, told["name"], told["version"], status, answer.iterations, certificate,
            problems=problems,
        )  # fmt: skip
        return Outcome(report, answer, self._numbers(answer), found)


BINDINGS = ("opendssdirect", "py_dss_interface")


def _foreign(error: ProblemError) -> list[str]:
    """The common settings that an engine does not know, where nothing else is in its way."""
    common = fields_of(Settings)
    names = [
        problem.field
        for problem in error.problems
        if problem.element is None and problem.field in common and problem.field != "binding"
    ]
    refused = error.kind == "unsupported" and len(names) == len(error.problems)
    return [name for name in names if name] if refused else []


def _at_default(settings: PowerFlow, names: list[str]) -> PowerFlow:
    fields = fields_of(type(settings))
    return msgspec.structs.replace(settings, **{name: fields[name].default for name in names})
