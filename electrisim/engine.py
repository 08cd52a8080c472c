"""What an engine offers, and the gate in front of it.

An engine speaks one solver. It declares for every kind of element whether it can represent it, and
gives primitives; studies are built of these and know no engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

from electrisim.change import Changes
from electrisim.elements import Element
from electrisim.network import Array, Network, fault
from electrisim.problems import Problem, ProblemError
from electrisim.results import Solution
from electrisim.settings import Settings
from electrisim.topology import Topology

if TYPE_CHECKING:
    from electrisim.control.plan import Place
    from electrisim.spectra import Spectrum
    from electrisim.studies.shortcircuit import Faulted, ShortCircuit
    from electrisim.sweep import Chunk


class Support(NamedTuple):
    """Whether an engine can represent a kind, and how.

    state  derived: the fields are the engine's own; translated: a function of ours says it in the
           engine's words; unsupported: asked for, it refuses the study
    note   what a user should know: what it becomes, or why it cannot be
    """

    state: Literal["derived", "translated", "unsupported"]
    note: str = ""


class Model(Protocol):
    """A network as one engine holds it."""

    def power_flow(self) -> Solution:
        """Solve for the steady state; raises NotConvergedError."""
        ...

    def script(self) -> str:
        """A text that reproduces the numbers when run on its own with the engine's own tools."""
        ...


@runtime_checkable
class Sweeping(Protocol):
    """A model that solves many cases faster than by building each of them."""

    def sweep(self, changes: Changes) -> Iterator[Chunk]:
        """Solve the network once per case, every case starting from the built state."""
        ...


@runtime_checkable
class ShortCircuiting(Protocol):
    """A model that knows what flows into faults."""

    def short_circuit(self, settings: ShortCircuit, buses: Array) -> Faulted:
        """The currents of a fault at each of these buses (rows), one after the other."""
        ...


class Distortion(NamedTuple):
    """Voltages and currents of other frequencies than the nominal one, order by order.

    A balanced network's phases differ by angles only: these are those of phase a.

    voltage_kv  of every bus, line to line, shape (n_orders, n_bus); NaN without supply
    current_ka  branch kind → into each of its ports, shape (n_orders, n_elements, n_ports)
    script      a text that reproduces the numbers
    warnings    what the engine did that a reader of the numbers should know
    """

    voltage_kv: Array
    current_ka: Mapping[type[Element], Array]
    script: str
    warnings: tuple[str, ...] = ()


@runtime_checkable
class Harmonic(Protocol):
    """A model that can be solved at other frequencies, around its power flow."""

    def harmonics(
        self,
        spectra: Mapping[type[Element], Sequence[Spectrum]],
        orders: Sequence[float],
        neglect_load_y: bool = False,
    ) -> Distortion:
        """What the elements' spectra cause; after `power_flow`, and once.

        spectra  kind → of each of its elements, relative to its fundamental
        """
        ...

    def scan(self, bus: int, orders: Sequence[float]) -> Array:
        """Impedance that a positive-sequence current meets at a bus [Ω]; after `harmonics`."""
        ...


@runtime_checkable
class Controlling(Protocol):
    """An engine with controllers of its own."""

    def act(
        self, network: Network, topology: Topology, settings: Settings
    ) -> tuple[Mapping[Place, float], bool]:
        """Where its controls leave what they move, and whether they found rest there."""
        ...


class Engine(Protocol):
    """One solver.

    name     as `settings.solver` spells it
    support  per model ("balanced", "unbalanced") and kind, whether it can be represented
    """

    @property
    def name(self) -> str: ...

    @property
    def support(self) -> Mapping[str, Mapping[type[Element], Support]]: ...

    def version(self, settings: Settings) -> Mapping[str, str]:
        """Name, version and solver of the engine that answers under these settings."""
        ...

    def refusals(self, network: Network, settings: Settings) -> list[Problem]:
        """What in these settings or elements the engine cannot do, beyond whole kinds."""
        ...

    def build(
        self, network: Network, topology: Topology, settings: Settings
    ) -> AbstractContextManager[Model]:
        """The network in the engine's own words, for the length of a `with` block."""
        ...


class Engines:
    """The engines of an application by name, and the gate that refuses what they cannot do."""

    def __init__(self, *engines: Engine) -> None:
        self._by_name = MappingProxyType({engine.name: engine for engine in engines})

    def __iter__(self) -> Iterator[Engine]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> Engine:
        return self._by_name[name]

    def admit(self, network: Network, settings: Settings) -> Engine:
        """The engine that the settings ask for, or every reason why it cannot solve this."""
        engine = self._by_name.get(settings.solver)
        if engine is None:
            known = ", ".join(self._by_name)
            message = f"This server has no engine “{settings.solver}”; it has {known}."
            problem = Problem(kind="unsupported", message=message, field="solver")
            raise ProblemError([problem], kind="unsupported")
        problems = [
            *_unsupported_control(engine, settings),
            *self._unsupported_kinds(engine, network, settings.model),
            *engine.refusals(network, settings),
        ]
        if problems:
            raise ProblemError(problems, kind="unsupported")
        return engine

    def _unsupported_kinds(self, engine: Engine, network: Network, model: str) -> Iterator[Problem]:
        for kind in network.kinds:
            support = engine.support[model][kind]
            if support.state != "unsupported":
                continue
            able = [
                other.name for other in self if other.support[model][kind].state != "unsupported"
            ]
            hint = f" The engine {able[0]} can." if able else ""
            rows = network.rows(kind)
            how = f"cannot be represented by {engine.name} ({model}): {support.note}"
            for row in range(len(rows)):
                yield fault(rows, row, None, "unsupported", how.rstrip("."), hint)


#: The studies in which controllers act.
CONTROLLED = ("powerflow", "controller")


def _unsupported_control(engine: Engine, settings: Settings) -> Iterator[Problem]:
    """Where controllers are asked to act and cannot."""
    if not settings.controls:
        return
    if settings.name not in CONTROLLED:
        message = f"Controllers act in {' and '.join(CONTROLLED)}, not in {settings.name}."
        yield Problem(kind="unsupported", message=message, field="run_control")
    phased = settings.model != "balanced"
    if settings.linear or phased and not isinstance(engine, Controlling):
        hint = " The engine opendss has tap changers in three unequal phases." if phased else ""
        message = f"Controllers act in the balanced AC power flow (mode ac) only.{hint}"
        yield Problem(kind="unsupported", message=message, field="run_control")
