"""How to reach OpenDSS: two builds of the engine behind one small protocol.

`opendssdirect` is the DSS C-API, in this process, in a bounded pool of contexts.
`py_dss_interface` is EPRI's own build, which is global, chatty and has a shell: it lives in a child
process (`opendss_child`) that can be killed.

    bindings = Bindings()
    with bindings.session("opendssdirect") as session:
        session.run(["set defaultbasefrequency=50", "new circuit.c bus1=b0 basekv=20", …])
        converged, iterations = session.solve()

Commands are ours, never a client's: no name, number or text of a request reaches an engine before
`opendss_electrisim` has put it into words of its own.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
import opendssdirect
from numpy.typing import NDArray

from electrisim.problems import Problem, ProblemError

log = logging.getLogger(__name__)

# What our translation writes, and no more: no quotes, comments, variables, paths or line breaks,
# and no verb that touches a file, a shell or another circuit.
_COMMAND = re.compile(
    r"(?:new|edit|set|open|close|enable|disable|calcvoltagebases|solve)"
    r"(?: [a-z0-9 ._=+\-,()\[\]|%]*)?",
    re.IGNORECASE,
)

# Global in both engines: it outlives `clearall`, and a circuit takes it when it is made.
_DEFAULTS = ("set defaultbasefrequency=50",)


class EngineError(Exception):
    """An engine refused a command or a question; what it said is in the log.

    number   the engine's number of the error
    command  the command of ours that it refused, None where it was a question
    """

    def __init__(self, number: int, command: str | None = None) -> None:
        super().__init__(number, command)
        self.number = number
        self.command = command


class Solved(NamedTuple):
    """What the engine says of its own solution. It is evidence, not a verdict."""

    converged: bool
    iterations: int


class Session(Protocol):
    """One engine for the length of one request. It begins empty and is emptied when it ends.

    Elements are named “class.name”, nodes “bus.number”, all in lower case. All methods raise
    EngineError; a child process that hangs or dies raises ProblemError.
    """

    @property
    def version(self) -> str:
        """The build of the engine, as in “DSS C-API 0.14.5”."""
        ...

    def clear(self) -> None:
        """Forget every circuit and return to the defaults (50 Hz)."""
        ...

    def run(self, commands: Sequence[str]) -> None:
        """Give commands of ours in order, up to the first that fails; ValueError for others'."""
        ...

    def solve(self) -> Solved:
        """Solve the circuit as it is set up, starting from its last solution if it has one."""
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

    def set_angles(self, sources: Sequence[str], degrees: Sequence[float]) -> None:
        """Turn voltage sources (“g1”, without class), without building matrices again."""
        ...

    def set_magnitudes(self, sources: Sequence[str], per_unit: Sequence[float]) -> None:
        """Voltages of voltage sources in per unit of their basekv, as `set_angles`."""
        ...


class Bindings:
    """Both engines of one process: they start when first asked for, hence after a fork.

    contexts  how many requests opendssdirect solves at once; environment variable
              OPENDSS_CONTEXTS, else the number of processors. A context costs 1.6 MB that the
              engine never gives back, so they are kept
    patience  how long a request waits for its turn before it is told to come back [s]
    """

    def __init__(self, contexts: int | None = None, patience: float = 30.0) -> None:
        size = contexts or int(os.environ.get("OPENDSS_CONTEXTS") or os.cpu_count() or 1)
        self._contexts = _Contexts(size, patience)

    @contextmanager
    def session(self, binding: str) -> Iterator[Session]:
        """Borrow an engine; raises ProblemError 503 when none becomes free in time."""
        pool = {"opendssdirect": self._contexts}[binding]
        with pool.session() as session:
            yield session


class _Contexts:
    """Contexts of the DSS C-API."""

    def __init__(self, size: int, patience: float) -> None:
        self._turns = threading.BoundedSemaphore(size)
        self._patience = patience
        self._idle: list[_Context] = []

    @contextmanager
    def session(self) -> Iterator[Session]:
        if not self._turns.acquire(timeout=self._patience):
            raise _overloaded(self._patience)
        try:
            context = self._idle.pop() if self._idle else _Context()
            try:
                yield context
            finally:
                # One that cannot be emptied is not put back.
                context.clear()
                self._idle.append(context)
        finally:
            self._turns.release()


class _Context:
    """A context of the DSS C-API as a Session."""

    def __init__(self) -> None:
        self._dss = opendssdirect.dss.NewContext()
        basic = self._dss.Basic
        for allow in (basic.AllowForms, basic.AllowEditor, basic.AllowDOScmd, basic.AllowChangeDir):
            allow(False)
        # The classic interface reads one element per call and by name; the engine's own batch calls
        # read all at once, 20 times faster, from handles.
        util = self._dss._api_util
        self._ffi, self._library, self._lookup = util.ffi, util.lib_unpatched, util.lib
        self._pointer = self._ffi.new("double **")
        self._shape = self._ffi.new("int32_t[4]")
        self._handles: dict[str, tuple[Any, int]] = {}
        self.version = "DSS C-API " + self._dss.Basic.Version().split()[4]
        self.clear()

    def clear(self) -> None:
        self._handles.clear()
        self._dss.Text.Commands(["clearall", *_DEFAULTS])

    def run(self, commands: Sequence[str]) -> None:
        check(commands)
        self._handles.clear()
        try:
            # One call, because each call gives up Python's lock and may wait to get it back.
            self._dss.Text.Commands(list(commands))
        except opendssdirect.DSSException as error:
            # The engine stopped there, and its last command is the one that failed.
            raise _refusal(error, self._dss.Text.Command()) from None

    def solve(self) -> Solved:
        with _questions():
            self._dss.Solution.Solve()
            solution = self._dss.Solution
            return Solved(bool(solution.Converged()), solution.TotalIterations())

    def node_names(self) -> list[str]:
        with _questions():
            return [name.lower() for name in self._dss.Circuit.YNodeOrder()]

    def voltages(self) -> NDArray[np.complex128]:
        with _questions():
            return np.array(self._dss.Circuit.YNodeVArray()).view(np.complex128)

    def powers(self, elements: Sequence[str]) -> list[NDArray[np.complex128]]:
        return self._read(self._library.Alt_CEBatch_Get_Powers, elements)

    def currents(self, elements: Sequence[str]) -> list[NDArray[np.complex128]]:
        return self._read(self._library.Alt_CEBatch_Get_Currents, elements)

    def set_angles(self, sources: Sequence[str], degrees: Sequence[float]) -> None:
        self._set(self._dss.Vsources.AngleDeg, sources, degrees)

    def set_magnitudes(self, sources: Sequence[str], per_unit: Sequence[float]) -> None:
        self._set(self._dss.Vsources.PU, sources, per_unit)

    def _set(self, setter: Any, sources: Sequence[str], values: Sequence[float]) -> None:
        with _questions():
            for source, value in zip(sources, values, strict=True):
                self._dss.Vsources.Name(source)
                setter(float(value))

    def _read(self, getter: Any, elements: Sequence[str]) -> list[NDArray[np.complex128]]:
        handles = [self._handles.get(name) or self._handle(name) for name in elements]
        if not handles:
            return []
        batch = self._ffi.new("void *[]", [handle for handle, _ in handles])
        with _questions():
            getter(self._pointer, self._shape, batch, len(handles))
            self._dss._check_for_error()
        buffer = self._ffi.buffer(self._pointer[0], self._shape[0] * 8)
        flat = np.frombuffer(buffer, np.complex128).copy()
        ends = np.cumsum([size for _, size in handles]).tolist()
        if ends[-1] != len(flat):
            raise RuntimeError("the engine answered with another number of conductors")
        return [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def _handle(self, name: str) -> tuple[Any, int]:
        """The engine's handle of an element and its conductors at all terminals; remembered."""
        if self._lookup.Circuit_SetActiveElement(name.encode("ascii")) < 0:
            raise KeyError(name)
        handle = self._lookup.CktElement_Get_Pointer()
        size = self._lookup.CktElement_Get_NumConductors()
        self._handles[name] = handle, size * self._lookup.CktElement_Get_NumTerminals()
        return self._handles[name]


def check(commands: Sequence[str]) -> None:
    """Raise ValueError for a command that our translation does not write: a defect of ours."""
    for command in commands:
        if not _COMMAND.fullmatch(command):
            raise ValueError(f"not a command of ours: {command!r}")


@contextmanager
def _questions() -> Iterator[None]:
    try:
        yield
    except opendssdirect.DSSException as error:
        raise _refusal(error, None) from None


def _refusal(error: opendssdirect.DSSException, command: str | None) -> EngineError:
    number, text = error.args
    log.error("OpenDSS refused %r: #%d %s", command, number, text)
    return EngineError(number, command)


def _overloaded(patience: float) -> ProblemError:
    problem = Problem(
        kind="overloaded",
        message="All OpenDSS engines of this server are busy; please try again in a moment.",
    )
    return ProblemError(
        [problem], status=503, kind="overloaded", extra={"retry_after": round(patience)}
    )
