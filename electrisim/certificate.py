"""The one judge: whether an answer is a solution, recomputed from its own numbers.

`electrisim.claims` compares what branches and buses report with each other and with the graph's
data, `electrisim.laws` what every set-point asked for with what was delivered, `electrisim.sums`
adds up the powers at every node; here they are weighed. No engine is asked, and none is believed.
"""

from __future__ import annotations

import cmath
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
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
from electrisim.network import Array, Network
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


def severities(
    network: Network, topology: Topology, settings: Settings, tables: Tables
) -> dict[str, float]:
    """How far each element's own numbers are from its data: id → share of what is accepted.

    Above 1 an answer is refused for it. What a node says of several elements is left out.
    """
    with np.errstate(all="ignore"):
        if settings.model == "unbalanced":
            claims, limit_mva = _phase_claims(Phased(network, topology, settings, tables))
        else:
            claims, limit_mva = _balanced_claims(Answered(network, topology, settings, tables))
        found: dict[str, float] = {}
        for claim in claims:
            for quantity, errors in claim_errors(claim) if claim.group != "node" else ():
                limit = VOLTAGE_PU if quantity == "voltage" else limit_mva
                shares = np.atleast_2d(errors).max(axis=0) / limit
                for id_, share in zip(claim.rows.ids, shares.tolist(), strict=True):
                    found[id_] = max(found.get(id_, 0.0), share if share == share else math.inf)
        return found


def _certify_balanced(answered: Answered) -> Certificate:
    case = _supplied(answered)
    claims, limit_mva = _balanced_claims(answered)
    case.weigh(claims)
    return case.close(limit_mva)


def _certify_phases(answered: Phased) -> Certificate:
    case = _supplied(answered)
    claims, limit_mva = _phase_claims(answered)
    case.weigh(claims)
    return case.close(limit_mva)


def _supplied(answered: Answered) -> Case:
    """A case in which whatever is supplied has numbers; without them there is nothing to judge."""
    case = Case()
    case.weigh(supply_claims(answered))
    case.close(ABSOLUTE_MVA)
    return case


def _balanced_claims(answered: Answered) -> tuple[Iterator[Claim], float]:
    """Everything that an answer claims, and what is accepted of each [MVA]."""
    found = answered.flows()
    sums = Sums(answered, found)
    limit_mva = _limit_mva(sums.throughput_mva)
    claims = itertools.chain(
        setpoint_claims(answered, limit_mva),
        branch_claims(answered, found),
        switch_claims(answered, found),
        bus_claims(answered),
        sums.claims(),
    )
    return claims, limit_mva


def _phase_claims(answered: Phased) -> tuple[Iterator[Claim], float]:
    found = phases.phase_flows(answered)
    sums = phases.PhaseSums(answered, found)
    claims = itertools.chain(
        phases.setpoint_claims(answered),
        phases.branch_claims(answered, found),
        phases.bus_claims(answered),
        sums.claims(),
    )
    return claims, _limit_mva(sums.throughput_mva)


def claim_errors(claim: Claim) -> Iterator[tuple[str, Array]]:
    """By how much a claim misses, by quantity: active, reactive, current [MVA], voltage [pu]."""
    difference = claim.delivered - claim.asked
    parts = [(claim.quantity, difference)]
    if claim.quantity == "power":
        parts = [("active", difference.real)]
        if np.iscomplexobj(claim.asked):
            parts.append(("reactive", difference.imag))
    for quantity, part in parts:
        errors = np.abs(part)
        if quantity == "angle":
            # As a share of the voltage, whichever way round it is told.
            quantity, errors = "voltage", np.deg2rad(np.minimum(errors, np.abs(360 - errors)))
        if claim.weight is not None:
            errors = errors * claim.weight
        if claim.at is not None and not claim.at.all():
            errors = np.where(claim.at, errors, 0.0)
        yield quantity, errors


def accepts(mismatch_mva: Array, astray_pu: Array, throughput_mva: Callable[[], Array]) -> Array:
    """Which cases of a sweep are accepted, by the limits that every answer is held to.

    mismatch_mva    largest error in power of each case, shape (n,)
    astray_pu       largest error in a voltage that is held, shape (n,)
    throughput_mva  tells each case's largest bus throughput; asked only where that matters
    """
    limit = np.full(len(mismatch_mva), ABSOLUTE_MVA)
    if (mismatch_mva > limit).any():
        limit = np.array([_limit_mva(throughput) for throughput in throughput_mva().tolist()])
    return np.asarray((mismatch_mva <= limit) & (astray_pu <= VOLTAGE_PU))


def _limit_mva(throughput_mva: float) -> float:
    """What is accepted; a throughput that is not finite is no scale."""
    return max(ABSOLUTE_MVA, RELATIVE * throughput_mva if math.isfinite(throughput_mva) else 0)


class Finding(NamedTuple):
    """The worst error of one sort.

    error   [MVA or pu]; infinite where a number is missing or not finite
    claim   in which it was found
    shape   of the claim's errors
    at      position in the flattened errors
    """

    error: float
    claim: Claim
    shape: tuple[int, ...]
    at: int

    @property
    def row(self) -> int:
        return self.at % self.shape[-1]

    def of(self, values: Array) -> complex:
        """The asked or delivered value in question."""
        return complex(np.broadcast_to(values, self.shape).flat[self.at])


class Case:
    """Claims weighed: the worst finding per group (mismatch, setpoint, node) and quantity."""

    def __init__(self) -> None:
        self._worst: dict[tuple[str, str], Finding] = {}

    def weigh(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            for quantity, errors in claim_errors(claim):
                self._compare(claim, quantity, errors)

    def _compare(self, claim: Claim, quantity: str, errors: Array) -> None:
        if not errors.size:
            return
        # The first that is not a number counts as the largest.
        at = int(errors.argmax())
        error = errors.item(at)
        sort = claim.group, quantity
        worst = self._worst.get(sort)
        if worst is None or not error <= worst.error:
            error = error if math.isfinite(error) else math.inf
            self._worst[sort] = Finding(error, claim, errors.shape, at)

    def close(self, limit_mva: float) -> Certificate:
        """The certificate, or NotConvergedError with what is beyond the limits."""
        charges = [
            Charge(group, quantity, finding, VOLTAGE_PU if quantity == "voltage" else limit_mva)
            for (group, quantity), finding in self._worst.items()
        ]
        certificate = _certificate(charges)
        beyond = sorted((charge for charge in charges if charge.holds), key=Charge.rank)
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


def _certificate(charges: list[Charge]) -> Certificate:
    errors = {(charge.group, charge.quantity): charge.finding.error for charge in charges}

    def largest(*sorts: tuple[str, str]) -> float:
        return max([errors.get(sort, 0.0) for sort in sorts])

    def culprit(*groups: str) -> str | None:
        some = [charge for charge in charges if charge.group in groups and charge.finding.error > 0]
        return max(some, key=lambda charge: charge.severity).element if some else None

    return Certificate(
        max_p_mismatch_mw=largest(
            ("mismatch", "active"), ("node", "active"), ("mismatch", "current")
        ),
        max_q_mismatch_mvar=largest(("mismatch", "reactive"), ("node", "reactive")),
        max_setpoint_error_mw=largest(("setpoint", "active")),
        max_setpoint_error_mvar=largest(("setpoint", "reactive")),
        max_setpoint_element=culprit("setpoint"),
        max_mismatch_element=culprit("mismatch", "node"),
        max_voltage_mismatch_pu=largest(("mismatch", "voltage"), ("node", "voltage")),
        max_setpoint_error_pu=largest(("setpoint", "voltage")),
    )


# -- in words --------------------------------------------------------------------------------------


class Charge(NamedTuple):
    """A finding beside its limit [MVA or pu], and what to say about it."""

    group: str
    quantity: str
    finding: Finding
    limit: float

    @property
    def severity(self) -> float:
        return self.finding.error / self.limit

    @property
    def holds(self) -> bool:
        return not self.finding.error <= self.limit

    def rank(self) -> tuple[bool, float]:
        """What an element says of itself comes before what a bus says of several."""
        return self.group == "node", -self.severity

    @property
    def element(self) -> str:
        return self.finding.claim.rows.ids[self.finding.row]

    @property
    def name(self) -> str | None:
        return self.finding.claim.rows.names[self.finding.row]

    @property
    def sentence(self) -> str:
        claim, is_voltage = self.finding.claim, self.quantity == "voltage"
        label = claim.rows.label(self.finding.row)
        asked, delivered = self._told(claim.asked), self._told(claim.delivered)
        if not math.isfinite(self.finding.error):
            what = "voltage" if is_voltage else "result"
            return f"{label} has no {what} that is a number{self._where}."
        if claim.about == "sum":
            return f"The powers at {label} add up to {delivered} instead of 0{self._where}."
        if claim.about == "limit":
            return f"{label} delivers {delivered}, beyond its limit of {asked}."
        if claim.about == "inside":
            return f"{label} should pass on {asked} inside and passes on {delivered}."
        if self.group == "setpoint":
            asks, does = ("to hold", "holds") if is_voltage else ("for", "got")
            return f"{label} was asked {asks} {asked} and {does} {delivered}{self._where}."
        because = "what is connected there draws" if claim.rows.kind in NODES else "its data give"
        return f"{label} reports {delivered}{self._where}; {because} {asked} at these voltages."

    @property
    def _where(self) -> str:
        claim, finding = self.finding.claim, self.finding
        return claim.places[finding.at // finding.shape[-1]] if claim.places else ""

    def _number(self, values: Array) -> complex:
        value = self.finding.of(values)
        is_part = self.quantity == "reactive" and self.finding.claim.quantity == "power"
        return complex(value.imag) if is_part else value

    @property
    def _unit(self) -> str:
        quantity = self.finding.claim.quantity
        return _UNITS[self.quantity if quantity == "power" else quantity]

    def _told(self, values: Array) -> str:
        value, unit = self._number(values), self._unit
        if self._is_phasor:
            return f"{abs(value):.9g} {unit} at {math.degrees(cmath.phase(value)):.9g}°"
        return f"{value.real:.9g} {unit}"

    @property
    def _is_phasor(self) -> bool:
        claim = self.finding.claim
        sides = claim.asked, claim.delivered
        return self.quantity == "voltage" and any(map(np.iscomplexobj, sides))

    def problem(self) -> Problem:
        return Problem(
            kind="not-converged", message=self.sentence, element=self.element, name=self.name
        )

    def diagnosis(self) -> dict[str, Any]:
        claim = self.finding.claim
        numbers = [self._number(values) for values in (claim.asked, claim.delivered)]
        sizes = [abs(number) if self._is_phasor else number.real for number in numbers]
        asked, delivered = (size if math.isfinite(size) else None for size in sizes)
        return {
            "rule": "engine-answer",
            "cause": self.sentence,
            "elements": [self.element],
            "evidence": {"unit": self._unit, "asked": asked, "delivered": delivered},
            "suggestion": _SUGGESTIONS[self.group],
            "repair": [],
            "verified": None,
        }


NODES = (e.Bus, e.DCBus)
_UNITS = {"active": "MW", "reactive": "Mvar", "current": "kA", "voltage": "pu", "angle": "°"}
_UNRELIABLE = "Compare with the other engine or another algorithm; this answer is not reliable."
_SUGGESTIONS = {
    "setpoint": "Ask for less here, or strengthen the network around it.",
    "mismatch": _UNRELIABLE,
    "node": _UNRELIABLE,
}
