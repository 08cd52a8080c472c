"""What an engine is asked about a feeder, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Literal, NamedTuple, Protocol

import msgspec
import numpy as np

from electrisim.feeder.tables import Bus, Complex, Feeder, Load, Reals, numbers
from electrisim.fields import says

#: The transformer in front of the source, which feeds all that the source gives.
SUBSTATION = "substation"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a session models its feeder; fixed when the session is made."""

    feeder: Annotated[
        Literal["ieee123", "ieee13", "ieee34", "ieee37"], says("The public test feeder.")
    ] = "ieee123"
    neighbourhood_table: Annotated[
        Literal["recommended", "seed", "later"],
        says("Which buses make up a neighbourhood; the last two: ieee123, as the original had it."),
    ] = "recommended"
    taps: Annotated[
        Literal["automatic", "published", "neutral"],
        says(
            "Regulators act, from neutral at every solution; or stand locked at the published taps "
            "or at neutral."
        ),
    ] = "automatic"
    lengths: Annotated[
        Literal["ieee", "epri"],
        says(
            "Where the IEEE's sheets and EPRI's file of ieee123 differ (two lengths, the rated "
            "voltage of loads and of single-phase capacitors), which of them counts."
        ),
    ] = "ieee"


class Unit(NamedTuple):
    """A source or consumer of constant active power beside the feeder's own loads.

    nodes  where it is connected, in wye; in delta, between the first two or among all three
    kw     injected; negative where it consumes
    """

    bus: str
    nodes: tuple[int, ...]
    delta: bool
    kw: float

    @property
    def phases(self) -> int:
        return 3 if len(self.nodes) == 3 else 1


def connect(feeder: Feeder, bus: Bus, phases: int, kw: float) -> Unit:
    """A unit of one or three phases at a bus.

    One phase is the first that the bus has, to the neutral; where there is no neutral, it is
    between the first two. Whether the bus has so many phases was asked before.
    """
    delta = bus.bus in feeder.ungrounded
    count = 3 if phases == 3 else 2 if delta else 1
    return Unit(bus.bus, numbers(bus.nodes)[:count], delta, kw)


class Case(NamedTuple):
    """What a feeder is to be solved with.

    factors  load → what its rated power is multiplied with; absent, 1
    units    in the order in which `Solved.units` answers
    """

    factors: Mapping[str, float]
    units: tuple[Unit, ...]


class Solved(NamedTuple):
    """A solution as the engine left it.

    converged    what the engine says, including that its controls came to rest
    voltages     to ground, in the order of `Feeder.nodes` [V]
    loads        delivered to each of `Feeder.loads` [kVA]
    units        of each unit, injected at each of its nodes [kVA]
    source       drawn from the grid [kVA]
    losses       of lines and transformers [kVA]
    taps         of each regulator, steps from neutral
    currents     transformer, regulator, `SUBSTATION` or line → by phase at its `from_bus` [A]
    mismatch_kva the largest sum of all powers at a node
    """

    converged: bool
    voltages: Complex
    loads: Complex
    units: tuple[Complex, ...]
    source: complex
    losses: complex
    taps: Mapping[str, int]
    currents: Mapping[str, Reals]
    mismatch_kva: float


class Model(Protocol):
    """A feeder in an engine, for the length of one request.

    All methods raise UnsolvableError for what the engine cannot take.
    """

    def change(self, case: Case) -> None:
        """Other load factors and other powers of the same units."""
        ...

    def reset_taps(self) -> None:
        """Put the regulators back to where a session's solution begins."""
        ...

    def solve(self) -> Solved:
        """Solve; regulators act from where they stand."""
        ...


class Solver(Protocol):
    """An engine as the feeder needs it."""

    def version(self) -> str:
        """The build of the engine."""
        ...

    def open(self, feeder: Feeder, options: Options, case: Case) -> AbstractContextManager[Model]:
        """The feeder with taps neutral, or locked as the options say."""
        ...


class UnsolvableError(Exception):
    """The engine broke off: figures beyond what it can represent."""


def per_unit(feeder: Feeder, voltages: Complex) -> Complex:
    """Voltages of `Feeder.nodes` in per unit of the bus's line-to-neutral base.

    On a three-wire feeder a voltage to ground means nothing: there it is the voltage between the
    node's phase and the next one (A-B, B-C, C-A), per unit of the line-to-line base.
    """
    base = np.array([1e3 * feeder.buses[bus].base_kv_ll for bus, _ in feeder.nodes])
    if feeder.about.wiring == "three-wire":
        following = [feeder.rows[bus, node % 3 + 1] for bus, node in feeder.nodes]
        between: Complex = (voltages - voltages[following]) / base
        return between
    to_ground: Complex = voltages / (base / math.sqrt(3))
    return to_ground


def rated_kv(load: Load, options: Options) -> float:
    """Where a load takes its rated power [kV], line to line for delta and three phases."""
    return load.epri_kv if options.lengths == "epri" and load.epri_kv is not None else load.kv


def factors_of(feeder: Feeder, case: Case) -> Reals:
    """The factor of each of `Feeder.loads`."""
    return np.array([case.factors.get(load, 1.0) for load in feeder.loads])


def asked_kw(feeder: Feeder, options: Options, case: Case, voltages: Complex) -> float:
    """What all loads ask for together at these voltages, each by its own model.

    P = P₀·(V/Vₙ)ⁿ with n = 0, 1, 2 for constant power, current and impedance; a load of three
    phases asks for a third in each. This is without the band beyond which the engine makes every
    load an impedance. A load along a line is in its middle, where the voltage is the mean of both
    ends.
    """
    parts = feeder.parts_of_loads
    grounded = np.append(voltages, 0)
    at_ends = grounded[parts.nodes] - grounded[parts.returns]
    rated_v = 1e3 * np.array([rated_kv(load, options) for load in feeder.loads.values()])
    ratio = np.abs(at_ends.mean(axis=1)) / (rated_v[parts.load] / parts.rated_by)
    kw = parts.kw * factors_of(feeder, case)[parts.load]
    return float((kw * ratio**parts.exponent).sum())
