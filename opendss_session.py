"""What the two builds of OpenDSS have in common: the session, its commands and its errors.

Commands are ours, never a client's: no name, number or text of a request reaches an engine before
our translation has put it into words of its own. What is not such a word is refused here.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

# What our translation writes, and no more: no quotes, comments, variables, paths or line breaks,
# and no verb that touches a file, a shell or another circuit.
_COMMAND = re.compile(
    r"(?:new|edit|set|open|close|enable|disable|makebuslist|setkvbase|solve)"
    r"(?: [a-z0-9 ._=+\-,()\[\]|%]*)?",
    re.IGNORECASE,
)

# The base frequency is global in the DSS C-API: it outlives `clearall`.
EMPTY = ("clearall", "set defaultbasefrequency=50")


class EngineError(Exception):
    """An engine refused a command or a question of ours; what it said is in the log.

    number   the engine's number of the error, -1 where we asked for an element that there is not
    command  what it refused
    """

    def __init__(self, number: int, command: str) -> None:
        super().__init__(number, command)
        self.number = number
        self.command = command


class Solved(NamedTuple):
    """What the engine says of its own solution. It is evidence, not a verdict."""

    converged: bool
    iterations: int


class Thevenin(NamedTuple):
    """A bus as seen by a fault there, in the order of its nodes.

    nodes   their numbers
    volts   open-circuit voltages to ground [V]
    z_ohm   impedances, shape (nodes, nodes)
    """

    nodes: NDArray[np.int64]
    volts: NDArray[np.complex128]
    z_ohm: NDArray[np.complex128]


class Session(Protocol):
    """One engine for the length of one request. It begins empty and is emptied when it ends.

    Elements are named “class.name”, nodes “bus.number”, all in lower case. All methods raise
    EngineError; a child process that hangs or dies raises ProblemError.
    """

    @property
    def version(self) -> str:
        """The build of the engine, as in “DSS C-API 0.14.5” or “EPRI OpenDSS 10.1.0.1”."""
        ...

    def clear(self) -> None:
        """Forget every circuit and return to the defaults (50 Hz)."""
        ...

    def run(self, commands: Sequence[str]) -> None:
        """Give commands in order, up to one that fails: then the session is empty again.

        Raises ValueError for what is not a command of ours.
        """
        ...

    def solve(self) -> Solved:
        """Solve the circuit as it is set up, starting from its last solution if it has one.

        Not converged is also where controls found no rest; such a circuit solves no more.
        """
        ...

    def node_names(self) -> list[str]:
        """The nodes of the solved circuit, in the engine's order."""
        ...

    def voltages(self) -> NDArray[np.complex128]:
        """Voltages to ground in the order of `node_names` [V]."""
        ...

    def powers(self, elements: Sequence[str]) -> list[NDArray[np.complex128]]:
        """Powers into each element: its terminals in order, of each its conductors [kVA]."""
        ...

    def currents(self, elements: Sequence[str]) -> list[NDArray[np.complex128]]:
        """Currents into each element, as `powers` [A]."""
        ...

    def properties(self, names: Sequence[str]) -> list[str]:
        """What elements say of their properties (“transformer.t0.taps”), as the engine writes it.

        It needs no solution, and works where controls found no rest.
        """
        ...

    def shapes(self, names: Sequence[str], kw: Array, kvar: Array) -> None:
        """Make or change load shapes of actual power, one hour a value, shape (hours, names)."""
        ...

    def series(self, count: int) -> tuple[NDArray[np.bool_], NDArray[np.complex128]]:
        """Solve so many steps in a mode of time, each starting from the last.

        Returns which converged, and the voltages as in `voltages`, shape (count, nodes).
        """
        ...

    def thevenin(self, buses: Sequence[str]) -> list[Thevenin]:
        """What a fault sees at each bus, after a solution in mode faultstudy."""
        ...

    def set_angles(self, sources: Sequence[str], degrees: Sequence[float]) -> None:
        """Turn voltage sources (“g1”, without class), without building matrices again."""
        ...

    def set_magnitudes(self, sources: Sequence[str], per_unit: Sequence[float]) -> None:
        """Voltages of voltage sources in per unit of their basekv, as `set_angles`."""
        ...


def check(commands: Sequence[str]) -> None:
    """Raise ValueError for a command that our translation does not write: a defect of ours."""
    for command in commands:
        if not _COMMAND.fullmatch(command):
            raise ValueError(f"not a command of ours: {command!r}")


_PROPERTY = re.compile(r"[a-z]+\.[a-z0-9]+\.[a-z]+")


def check_properties(names: Sequence[str]) -> None:
    """Raise ValueError for what is no property of an element of ours."""
    for name in names:
        if not _PROPERTY.fullmatch(name):
            raise ValueError(f"not a property of ours: {name!r}")


def split(flat: Any, sizes: Sequence[int]) -> list[NDArray[np.complex128]]:
    """One array of so many complex numbers per size, all of them parts of one."""
    values = np.frombuffer(flat, np.complex128).copy()
    if sum(sizes) != len(values):
        raise RuntimeError("the engine answered with another number of conductors")
    ends = list(itertools.accumulate(sizes))
    return [values[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def thevenins(flat: Any, buses: Sequence[str], node_names: Sequence[str]) -> list[Thevenin]:
    """One per bus, from volts and impedances one after the other.

    The engines have a bus's nodes in the order in which they came to be, as in `node_names`; their
    own list of the nodes of a bus is sorted, and so is no key to these.
    """
    numbers: dict[str, list[int]] = {}
    for name in node_names:
        bus, _, number = name.partition(".")
        numbers.setdefault(bus, []).append(int(number))
    nodes = [np.array(numbers[bus], dtype=np.int64) for bus in buses]
    parts = split(flat, [size for each in nodes for size in (len(each), len(each) ** 2)])
    return [
        Thevenin(each, volts, z_ohm.reshape(len(each), -1))
        for each, volts, z_ohm in zip(nodes, parts[::2], parts[1::2], strict=True)
    ]


def refusal(number: int, text: str, command: str) -> EngineError:
    """An EngineError whose text goes into the log, and there only."""
    log.error("OpenDSS refused %r: #%d %s", command, number, text)
    return EngineError(number, command)
