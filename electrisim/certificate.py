"""The one judge: whether an answer is a solution, recomputed from its own numbers.

`electrisim.claims` compares what branches and buses report with each other and with the graph's
data, `electrisim.laws` what every set-point asked for with what was delivered, `electrisim.sums`
adds up the powers at every node; here they are weighed. No engine is asked, and none is believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim import phases
from electrisim.claims import (
    Answered,
    Claim,
    branch_claims,
    bus_claims,
    supply_claims,
    switch_claims,
)
from electrisim.laws import setpoint_claims
from electrisim.network import Array, Network, Rows
from electrisim.phases import Phased
from electrisim.problems import NotConvergedError, Problem
from electrisim.results import Certificate, Tables
from electrisim.settings import Settings
from electrisim.sums import Sums
from electrisim.topology import Topology

#: An answer is accepted within this, or this share of the largest bus throughput [MVA, 1].
ABSOLUTE_MVA, RELATIVE = 1e-3, 1e-6
#: … and its voltages within this. At a bus of 1 GVA short-circuit power it is 1e-3 Mvar, and
#: sources that an engine has to model as stiff ones hold their voltages to a fifth of it.
VOLTAGE_PU = 1e-6


def certify(
    network: Network, topology: Topology, settings: Settings, tables: Tables
) -> Certificate:
    """Certify an answer, or raise NotConvergedError with the evidence.

    It names the worst element with what was asked for and delivered; the certificate's figures and
    a diagnosis stand in its `extra`.
    """
    with np.errstate(all="ignore"):
        if settings.model == "unbalanced":
            return _certify_phases(Phased(network, topology, settings, tables))
        return _certify_balanced(Answered(network, topology, settings, tables))


def _certify_balanced(answered: Answered) -> Certificate:
    case = Case()
    case.weigh(supply_claims(answered))
    case.close(ABSOLUTE_MVA)
    found = answered.flows()
    sums = Sums(answered, found)
    limit_mva = max(ABSOLUTE_MVA, RELATIVE * sums.throughput_mva)
    case.weigh(setpoint_claims(answered, limit_mva))
    case.weigh(branch_claims(answered, found))
    case.weigh(switch_claims(answered, found))
    case.weigh(bus_claims(answered))
    case.weigh(sums.claims())
    return case.close(limit_mva)


def _certify_phases(answered: Phased) -> Certificate:
    case = Case()
    case.weigh(supply_claims(answered))
    case.close(ABSOLUTE_MVA)
    found = phases.phase_flows(answered)
    sums = phases.PhaseSums(answered, found)
    limit_mva = max(ABSOLUTE_MVA, RELATIVE * sums.throughput_mva)
    case.weigh(phases.setpoint_claims(answered))
    case.weigh(phases.branch_claims(answered, found))
    case.weigh(phases.bus_claims(answered))
    case.weigh(sums.claims())
    return case.close(limit_mva)


class Finding(NamedTuple):
    """The worst error of one sort.

    error   [MVA or pu]; infinite where a number is missing or not finite
    claim   in which it was found; None while nothing was
    row     of the claim's rows
    place   in the claim's places
    """

    error: float
    claim: Claim | None = None
    row: int = 0
    place: int = 0
    asked: complex = 0.0
    delivered: complex = 0.0


class Case:
    """Claims weighed: the worst finding per group (mismatch, setpoint, node) and quantity."""

    def __init__(self) -> None:
        self.worst: dict[tuple[str, str], Finding] = {}

    def weigh(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            for quantity, asked, delivered in _parts(claim):
                self._compare(claim, quantity, asked, delivered)

    def _compare(self, claim: Claim, quantity: str, asked: Array, delivered: Array) -> None:
        errors = np.abs(delivered - asked) * claim.weight
        if claim.at is not None:
            errors = np.where(claim.at, errors, 0)
        if not errors.size:
            return
        # The first that is not a number counts as the largest.
        at = np.unravel_index(errors.argmax(), errors.shape)
        error = float(errors[at])
        error = error if np.isfinite(error) else np.inf
        sort = claim.group, quantity
        if sort not in self.worst or error > self.worst[sort].error:
            self.worst[sort] = Finding(
                error,
                claim,
                int(at[0]),
                int(at[1]) if len(at) > 1 else 0,
                *(complex(np.broadcast_to(side, errors.shape)[at]) for side in (asked, delivered)),
            )

    def close(self, limit_mva: float) -> Certificate:
        """The certificate, or NotConvergedError with what is beyond the limits."""
        certificate = self._certificate()
        beyond = sorted(
            (
                Charge(sort, finding, VOLTAGE_PU if sort[1] == "voltage" else limit_mva)
                for sort, finding in self.worst.items()
            ),
            key=Charge.rank,
        )
        beyond = [charge for charge in beyond if charge.holds]
        if not beyond:
            return certificate
        worst, *others = beyond
        raise NotConvergedError(
            f"The engine's answer is no solution. {worst.sentence}",
            element=worst.element,
            name=worst.name,
            problems=[charge.problem() for charge in others],
            diagnosis=[charge.diagnosis() for charge in beyond],
            certificate=certificate,
        )

    def _certificate(self) -> Certificate:
        def largest(groups: tuple[str, ...], *quantities: str) -> float:
            return max(
                (f.error for (g, q), f in self.worst.items() if g in groups and q in quantities),
                default=0.0,
            )

        def culprit(groups: tuple[str, ...]) -> str | None:
            found = [
                (finding.error / (VOLTAGE_PU if quantity == "voltage" else ABSOLUTE_MVA), finding)
                for (group, quantity), finding in self.worst.items()
                if group in groups and finding.error > 0
            ]
            worst = max(found, key=lambda entry: entry[0], default=(0.0, Finding(0.0)))[1]
            return worst.claim.rows.ids[worst.row] if worst.claim else None

        own, asked = ("mismatch", "node"), ("setpoint",)
        return Certificate(
            max_p_mismatch_mw=largest(own, "active", "current"),
            max_q_mismatch_mvar=largest(own, "reactive"),
            max_setpoint_error_mw=largest(asked, "active"),
            max_setpoint_error_mvar=largest(asked, "reactive"),
            max_setpoint_element=culprit(asked),
            max_mismatch_element=culprit(own),
            max_voltage_mismatch_pu=largest(own, "voltage"),
            max_setpoint_error_pu=largest(asked, "voltage"),
        )


def _parts(claim: Claim) -> Iterator[tuple[str, Array, Array]]:
    """A claim of complex power as one of active and one of reactive power."""
    if claim.quantity != "power":
        yield claim.quantity, claim.asked, claim.delivered
        return
    yield "active", claim.asked.real, claim.delivered.real
    if np.iscomplexobj(claim.asked):
        yield "reactive", claim.asked.imag, claim.delivered.imag


# -- in words --------------------------------------------------------------------------------------


class Charge(NamedTuple):
    """A finding beside its limit [MVA or pu], and what to say about it."""

    sort: tuple[str, str]
    finding: Finding
    limit: float

    @property
    def holds(self) -> bool:
        return not self.finding.error <= self.limit

    def rank(self) -> tuple[bool, float]:
        """What an element says of itself comes before what a bus says of several."""
        return self.sort[0] == "node", -self.finding.error / self.limit

    @property
    def element(self) -> str:
        return self._at[0].ids[self._at[1]]

    @property
    def name(self) -> str | None:
        return self._at[0].names[self._at[1]]

    @property
    def _at(self) -> tuple[Rows, int]:
        assert self.finding.claim is not None
        return self.finding.claim.rows, self.finding.row

    @property
    def sentence(self) -> str:
        rows, row = self._at
        label, claim = rows.label(row), self.finding.claim
        about = claim.about if claim else ""
        with_angle = self._with_angle
        asked, delivered = (_told(value, self._unit, with_angle) for value in self._numbers)
        where = self._where
        if not np.isfinite(self.finding.error):
            what = "voltage" if self.sort[1] == "voltage" else "result"
            return f"{label} has no {what} that is a number{where}."
        if about == "sum":
            return f"The powers at {label} add up to {delivered} instead of 0."
        if about == "limit":
            return f"{label} delivers {delivered}, beyond its limit of {asked}."
        if about == "inside":
            return f"{label} should pass on {asked} inside and passes on {delivered}."
        if self.sort[0] == "setpoint":
            verb = ("to hold", "holds") if self.sort[1] == "voltage" else ("for", "got")
            return f"{label} was asked {verb[0]} {asked} and {verb[1]} {delivered}."
        noun = f" {about}" if about else ""
        because = "what is connected there draws" if rows.kind in NODES else "its data give"
        return f"{label} reports{noun} {delivered}{where}; {because} {asked} at these voltages."

    @property
    def _unit(self) -> str:
        return _UNITS[self.sort[1]]

    @property
    def _numbers(self) -> tuple[complex, complex]:
        return self.finding.asked, self.finding.delivered

    @property
    def _with_angle(self) -> bool:
        claim = self.finding.claim
        is_phasor = claim and any(map(np.iscomplexobj, (claim.asked, claim.delivered)))
        return self.sort[1] == "voltage" and bool(is_phasor)

    @property
    def _where(self) -> str:
        claim, place = self.finding.claim, self.finding.place
        return claim.places[place] if claim and claim.places else ""

    def problem(self) -> Problem:
        return Problem(
            kind="not-converged", message=self.sentence, element=self.element, name=self.name
        )

    def diagnosis(self) -> dict[str, Any]:
        size = abs if self._with_angle else np.real
        asked, delivered = (
            float(size(value)) if np.isfinite(value) else None for value in self._numbers
        )
        return {
            "cause": self.sentence,
            "elements": [self.element],
            "evidence": {"unit": self._unit, "asked": asked, "delivered": delivered},
            "suggestion": _SUGGESTIONS[self.sort[0]],
        }


NODES = (e.Bus, e.DCBus)
_UNITS = {"active": "MW", "reactive": "Mvar", "current": "kA", "voltage": "pu"}
_SUGGESTIONS = {
    "setpoint": "Ask for less here, or strengthen the network around it.",
    "mismatch": "Compare with the other engine or another algorithm; this answer is not reliable.",
    "node": "Compare with the other engine or another algorithm; this answer is not reliable.",
}


def _told(value: complex, unit: str, with_angle: bool) -> str:
    if with_angle:
        return f"{abs(value):.9g} {unit} at {np.rad2deg(np.angle(value)):.9g}°"
    return f"{value.real:.9g} {unit}"
