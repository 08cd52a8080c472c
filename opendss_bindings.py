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

import ctypes
import importlib
import importlib.util
import itertools
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

import opendss_child
from electrisim.problems import Problem, ProblemError
from opendss_child import CONTROLS_UNSETTLED, UNKNOWN_ELEMENT

log = logging.getLogger(__name__)


def _load() -> Any:
    """Import opendssdirect so that its threads cannot crash the process.

    The engine's runtime remembers where the environment lies when it is loaded, and reads it there
    in every thread that first enters it. But the C library moves the environment when variables are
    added to it (gunicorn does, numerical libraries do), and frees the old place: the engine
    then crashes. So it is shown a copy that stays where it is.
    """
    if sys.platform == "linux" and "dss_python_backend" not in sys.modules:
        environ = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
        entries = list(itertools.takewhile(lambda entry: entry is not None, environ))
        copy = (ctypes.c_char_p * (len(entries) + 1))(*entries)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(copy))  # beyond the interpreter's own end
        ctypes.c_void_p.in_dll(ctypes.CDLL(None), "environ").value = ctypes.addressof(copy)
    return importlib.import_module("opendssdirect")


opendssdirect = _load()

# What our translation writes, and no more: no quotes, comments, variables, paths or line breaks,
# and no verb that touches a file, a shell or another circuit.
_COMMAND = re.compile(
    r"(?:new|edit|set|open|close|enable|disable|calcvoltagebases|solve)"
    r"(?: [a-z0-9 ._=+\-,()\[\]|%]*)?",
    re.IGNORECASE,
)

# The base frequency is global in the DSS C-API: it outlives `clearall`.
_EMPTY = ("clearall", "set defaultbasefrequency=50")

# What a forked process inherits and must not use: the engines are its parent's.
_INHERITED: weakref.WeakSet[_Pool | _Child] = weakref.WeakSet()


def _forget_inherited() -> None:
    for inherited in list(_INHERITED):
        inherited.forget()


os.register_at_fork(after_in_child=_forget_inherited)

# All that EPRI's engine may know of our environment: where to find libraries and a place for a
# temporary directory.
_ENVIRONMENT = ("LD_LIBRARY_PATH", "TMPDIR")


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

    def set_angles(self, sources: Sequence[str], degrees: Sequence[float]) -> None:
        """Turn voltage sources (“g1”, without class), without building matrices again."""
        ...

    def set_magnitudes(self, sources: Sequence[str], per_unit: Sequence[float]) -> None:
        """Voltages of voltage sources in per unit of their basekv, as `set_angles`."""
        ...


class Bindings:
    """Both engines of one process: each starts when first asked for, hence after a fork.

    contexts  how many requests opendssdirect solves at once; None: the environment variable
              OPENDSS_CONTEXTS, else the number of processors. A context costs 1.6 MB that the
              engine never gives back, so they are kept
    patience  how long a request waits for its turn before it is told to come back [s]
    deadline  how long one call to py_dss_interface may take before its process is killed; None:
              the environment variable OPENDSS_DEADLINE, else 60 [s]
    """

    def __init__(
        self,
        contexts: int | None = None,
        patience: float = 30.0,
        deadline: float | None = None,
    ) -> None:
        contexts = contexts or _from_environment("OPENDSS_CONTEXTS", os.cpu_count() or 1)
        seconds = deadline or _from_environment("OPENDSS_DEADLINE", 60)
        self._pools: dict[str, _Pool] = {
            "opendssdirect": _Pool(_Context, contexts, patience),
            "py_dss_interface": _Pool(lambda: _Child(seconds), 1, patience),
        }
        self._versions: dict[str, str] = {}

    @contextmanager
    def session(self, binding: str) -> Iterator[Session]:
        """Borrow an engine.

        Raises ProblemError: 503 `overloaded` when none becomes free in time.
        """
        with self._pools[binding].session() as session:
            self._versions[binding] = session.version
            yield session

    def version(self, binding: str) -> str:
        """The build of an engine, as `Session.version`; starts it if nobody has yet."""
        if binding not in self._versions:
            with self.session(binding):
                pass
        return self._versions[binding]


class _Engine(Session, Protocol):
    """A session that outlives its requests."""

    def alive(self) -> bool:
        """Whether it still answers."""
        ...

    def retire(self) -> bool:
        """Become empty for the next request; False: this engine is not to be used again."""
        ...


class _Pool:
    """So many engines at most, made when needed and borrowed one request at a time."""

    def __init__(self, make: Callable[[], _Engine], size: int, patience: float) -> None:
        self._make, self._size, self._patience = make, size, patience
        self.forget()
        _INHERITED.add(self)

    def forget(self) -> None:
        """Begin anew: the engines, and whoever waits for them, belong to the process forked."""
        self._turns = threading.BoundedSemaphore(self._size)
        self._idle: list[_Engine] = []

    @contextmanager
    def session(self) -> Iterator[Session]:
        if not self._turns.acquire(timeout=self._patience):
            message = "All OpenDSS engines of this server are busy; please try again in a moment."
            raise _failure(503, "overloaded", message, retry_after=5)
        try:
            engine = self._take()
            try:
                yield engine
            finally:
                if engine.retire():
                    self._idle.append(engine)
        finally:
            self._turns.release()

    def _take(self) -> _Engine:
        try:
            engine = self._idle.pop()
        except IndexError:
            return self._make()
        return engine if engine.alive() else self._make()


class _Context:
    """A context of the DSS C-API as a Session."""

    def __init__(self) -> None:
        self._dss = opendssdirect.dss.NewContext()
        basic = self._dss.Basic
        for allow in (basic.AllowForms, basic.AllowEditor, basic.AllowDOScmd, basic.AllowChangeDir):
            allow(False)
        # The usual interface reads one element per call, by name; the engine's own batch calls read
        # all at once from handles, 20 times faster once these are known.
        util = self._dss._api_util
        self._ffi, self._library, self._lookup = util.ffi, util.lib_unpatched, util.lib
        self._result = self._ffi.new("double **")
        self._shape = self._ffi.new("int32_t[4]")
        self._handles: dict[str, tuple[Any, int]] = {}
        self.version = "DSS C-API " + self._dss.Basic.Version().split()[4]
        self.clear()

    def clear(self) -> None:
        self._handles.clear()
        with _asking("clear"):
            self._dss.Text.Commands(list(_EMPTY))

    def alive(self) -> bool:
        return True

    def retire(self) -> bool:
        return _emptied(self)

    def run(self, commands: Sequence[str]) -> None:
        check(commands)
        self._handles.clear()
        try:
            # One call, because each call gives up Python's lock and may wait to get it back.
            self._dss.Text.Commands(list(commands))
        except opendssdirect.DSSException as error:
            # The engine stopped there, and its last command is the one that failed.
            refusal = _refusal(error, self._dss.Text.Command())
            self.clear()
            raise refusal from None

    def solve(self) -> Solved:
        solution = self._dss.Solution
        with _asking("solve"):
            try:
                solution.Solve()
            except opendssdirect.DSSException as error:
                if error.args[0] != CONTROLS_UNSETTLED:
                    raise
                return Solved(converged=False, iterations=solution.TotalIterations())
            return Solved(bool(solution.Converged()), solution.TotalIterations())

    def node_names(self) -> list[str]:
        with _asking("node_names"):
            return [name.lower() for name in self._dss.Circuit.YNodeOrder()]

    def voltages(self) -> NDArray[np.complex128]:
        with _asking("voltages"):
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
        for source, value in zip(sources, values, strict=True):
            with _asking(source):
                self._dss.Vsources.Name(source)
                setter(float(value))

    def _read(self, getter: Any, elements: Sequence[str]) -> list[NDArray[np.complex128]]:
        found = [self._handles.get(name) or self._find(name) for name in elements]
        if not found:
            return []
        batch = self._ffi.new("void *[]", [handle for handle, _ in found])
        getter(self._result, self._shape, batch, len(found))
        with _asking("flows"):
            self._dss._check_for_error()
        flat = self._ffi.buffer(self._result[0], self._shape[0] * 8)
        return _split(flat, [size for _, size in found])

    def _find(self, name: str) -> tuple[Any, int]:
        """The engine's handle of an element and its conductors at all terminals; remembered."""
        if self._lookup.Circuit_SetActiveElement(name.encode("ascii")) < 0:
            raise _logged(EngineError(UNKNOWN_ELEMENT, name), "no such element")
        element = self._dss.CktElement
        size = element.NumTerminals() * element.NumConductors()
        self._handles[name] = self._lookup.CktElement_Get_Pointer(), size
        return self._handles[name]


class _Child:
    """EPRI's engine in a process of its own, as a Session."""

    def __init__(self, deadline: float) -> None:
        if importlib.util.find_spec("py_dss_interface") is None:
            message = "This server has no py_dss_interface; the binding opendssdirect is here."
            problem = Problem(kind="unsupported", message=message, field="binding")
            raise ProblemError([problem], kind="unsupported")
        self._deadline = deadline
        self._link, theirs = socket.socketpair()
        with theirs:
            # A session of its own, so that a Ctrl-C for the server is not one for the engine.
            self.process = subprocess.Popen(
                [sys.executable, "-I", opendss_child.__file__],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                start_new_session=True,
            )
        self.end = weakref.finalize(self, _end, self.process, self._link, os.getpid())
        _INHERITED.add(self)
        # “Version 10.1.0.1 @ C++ (64-bit build); license status: …”
        self.version = f"EPRI OpenDSS {self._ask('version').split()[1]}"
        self.clear()

    def forget(self) -> None:
        # The child ends when the last copy of this socket is closed.
        self._link.close()

    def clear(self) -> None:
        self._ask("run", _EMPTY)

    def alive(self) -> bool:
        try:
            self._ask("version")
        except ProblemError:
            return False
        return True

    def retire(self) -> bool:
        return self.end.alive and _emptied(self)

    def run(self, commands: Sequence[str]) -> None:
        check(commands)
        try:
            self._ask("run", list(commands))
        except EngineError:
            self.clear()
            raise

    def solve(self) -> Solved:
        return Solved(*self._ask("solve"))

    def node_names(self) -> list[str]:
        names: list[str] = self._ask("node_names")
        return names

    def voltages(self) -> NDArray[np.complex128]:
        return np.frombuffer(self._ask("voltages"), np.complex128).copy()

    def powers(self, elements: Sequence[str]) -> list[NDArray[np.complex128]]:
        return _split(*self._ask("powers", list(elements)))

    def currents(self, elements: Sequence[str]) -> list[NDArray[np.complex128]]:
        return _split(*self._ask("currents", list(elements)))

    def set_angles(self, sources: Sequence[str], degrees: Sequence[float]) -> None:
        self._ask("set_angles", list(sources), [float(value) for value in degrees])

    def set_magnitudes(self, sources: Sequence[str], per_unit: Sequence[float]) -> None:
        self._ask("set_magnitudes", list(sources), [float(value) for value in per_unit])

    def _ask(self, method: str, *arguments: Any) -> Any:
        until = time.monotonic() + self._deadline
        answered = False
        try:
            opendss_child.send(self._link, [method, arguments], until)
            number, result, command = opendss_child.receive(self._link, until)
            answered = True
        except TimeoutError:
            message = f"OpenDSS gave no answer within {self._deadline:g} s and was stopped."
            raise _failure(504, "deadline", message) from None
        except (OSError, EOFError, ValueError) as error:
            message = "OpenDSS broke down while it worked on this request; please try again."
            raise _failure(503, "engine-died", message, retry_after=1) from error
        finally:
            # Whatever interrupted: a late answer must not be taken for that to another question.
            if not answered:
                log.error("OpenDSS process %d ended in %s", self.process.pid, method)
                self.end()
        if number:
            raise _logged(EngineError(number, command), result)
        return result


def _end(process: subprocess.Popen[bytes], link: socket.socket, owner: int) -> None:
    link.close()
    if os.getpid() == owner:
        process.kill()
        process.wait()


def check(commands: Sequence[str]) -> None:
    """Raise ValueError for a command that our translation does not write: a defect of ours."""
    for command in commands:
        if not _COMMAND.fullmatch(command):
            raise ValueError(f"not a command of ours: {command!r}")


def _split(flat: Any, sizes: Sequence[int]) -> list[NDArray[np.complex128]]:
    """One array of so many complex numbers per size, all of them parts of one."""
    values = np.frombuffer(flat, np.complex128).copy()
    if sum(sizes) != len(values):
        raise RuntimeError("the engine answered with another number of conductors")
    ends = list(itertools.accumulate(sizes))
    return [values[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _emptied(engine: Session) -> bool:
    try:
        engine.clear()
    except (EngineError, ProblemError):
        return False
    return True


@contextmanager
def _asking(question: str) -> Iterator[None]:
    try:
        yield
    except opendssdirect.DSSException as error:
        raise _refusal(error, question) from None


def _refusal(error: opendssdirect.DSSException, command: str) -> EngineError:
    number, text = error.args
    return _logged(EngineError(number, command), text)


def _logged(error: EngineError, text: str) -> EngineError:
    log.error("OpenDSS refused %r: #%d %s", error.command, error.number, text)
    return error


def _failure(status: int, kind: str, message: str, **extra: int) -> ProblemError:
    problem = Problem(kind=kind, message=message)
    return ProblemError([problem], status=status, kind=kind, extra=extra)


def _from_environment(name: str, default: int) -> int:
    """A positive whole number from the environment; an empty variable counts as absent."""
    value = os.environ.get(name) or str(default)
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise ValueError(f"{name}: “{value}” is no positive whole number.")
    return int(value)
