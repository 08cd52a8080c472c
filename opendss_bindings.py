"""How to reach OpenDSS: two builds of the engine behind one protocol.

`opendssdirect` is the DSS C-API, in this process (`opendss_context`), in a bounded pool.
`py_dss_interface` is EPRI's own build, which is global, chatty and has a shell: it lives in a child
process (`opendss_child`) that can be killed.

    bindings = Bindings()
    with bindings.session("opendssdirect") as session:
        session.run(["set defaultbasefrequency=50", "new circuit.c bus1=b0 basekv=20", …])
        converged, iterations = session.solve()
"""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

import opendss_child
from electrisim.problems import Problem, ProblemError
from opendss_context import Context
from opendss_session import (
    EMPTY,
    Array,
    EngineError,
    Session,
    Solved,
    Thevenin,
    check,
    check_properties,
    refusal,
    split,
    thevenins,
)

__all__ = ["Bindings", "EngineError", "Session", "Solved"]

log = logging.getLogger(__name__)

# What a forked process inherits and must not use: the engines are its parent's.
_INHERITED: weakref.WeakSet[_Pool | _Child] = weakref.WeakSet()


def _forget_inherited() -> None:
    for inherited in list(_INHERITED):
        inherited.forget()


os.register_at_fork(after_in_child=_forget_inherited)

# All that EPRI's engine may know of our environment: where to find libraries and a place for a
# temporary directory.
_ENVIRONMENT = ("LD_LIBRARY_PATH", "TMPDIR")


#: EPRI's engine keeps 1.3 kB of every request; after so many its process is replaced, in 0.1 s.
CHILD_USES = 2000


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
            "opendssdirect": _Pool(Context, contexts, patience),
            "py_dss_interface": _Pool(lambda: _Child(seconds), 1, patience, CHILD_USES),
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


class _Pool:
    """So many engines at most, made when needed and borrowed one request at a time.

    uses  after so many requests an engine is replaced
    """

    def __init__(
        self,
        make: Callable[[], Session],
        size: int,
        patience: float,
        uses: float = math.inf,
    ) -> None:
        self._make, self._size, self._patience, self._uses = make, size, patience, uses
        self.forget()
        _INHERITED.add(self)

    def forget(self) -> None:
        """Begin anew: the engines, and whoever waits for them, belong to the process forked."""
        self._turns = threading.BoundedSemaphore(self._size)
        self._idle: list[tuple[Session, int]] = []

    @contextmanager
    def session(self) -> Iterator[Session]:
        if not self._turns.acquire(timeout=self._patience):
            message = "All OpenDSS engines of this server are busy; please try again in a moment."
            raise _failure(503, "overloaded", message, retry_after=5)
        try:
            session, uses = self._take()
            try:
                yield session
            finally:
                if uses + 1 < self._uses and _empties(session):
                    self._idle.append((session, uses + 1))
        finally:
            self._turns.release()

    def _take(self) -> tuple[Session, int]:
        """An engine, and how many requests it has had."""
        try:
            session, uses = self._idle.pop()
        except IndexError:
            return self._make(), 0
        # It was empty already, but its process may have died meanwhile.
        return (session, uses) if _empties(session) else (self._make(), 0)


class _Child:
    """EPRI's engine in a process of its own, as a Session."""

    def __init__(self, deadline: float) -> None:
        if importlib.util.find_spec("py_dss_interface") is None:
            message = "This server has no py_dss_interface; the binding opendssdirect is here."
            problem = Problem(kind="unsupported", message=message, field="binding")
            raise ProblemError([problem], kind="unsupported")
        self._deadline = deadline
        self._ended: ProblemError | None = None
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
        self._ask("run", EMPTY)

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
        return split(*self._ask("powers", list(elements)))

    def currents(self, elements: Sequence[str]) -> list[NDArray[np.complex128]]:
        return split(*self._ask("currents", list(elements)))

    def properties(self, names: Sequence[str]) -> list[str]:
        check_properties(names)
        found: list[str] = self._ask("properties", list(names))
        return found

    def shapes(self, names: Sequence[str], kw: Array, kvar: Array) -> None:
        lists = ([",".join(map(repr, row)) for row in values.T.tolist()] for values in (kw, kvar))
        self.run(
            [
                f"new loadshape.{name} npts={len(kw)} interval=1 useactual=yes mult=({p}) "
                f"qmult=({q})"
                for name, p, q in zip(names, *lists, strict=True)
            ]
        )

    def series(self, count: int) -> tuple[NDArray[np.bool_], NDArray[np.complex128]]:
        steps = [(self.solve().converged, self.voltages()) for _ in range(count)]
        return np.array([converged for converged, _ in steps]), np.array([v for _, v in steps])

    def thevenin(self, buses: Sequence[str]) -> list[Thevenin]:
        flat = self._ask("thevenin", list(buses))
        return thevenins(flat, buses, self.node_names())

    def set_angles(self, sources: Sequence[str], degrees: Sequence[float]) -> None:
        self._ask("set_angles", list(sources), [float(value) for value in degrees])

    def set_magnitudes(self, sources: Sequence[str], per_unit: Sequence[float]) -> None:
        self._ask("set_magnitudes", list(sources), [float(value) for value in per_unit])

    def _ask(self, method: str, *arguments: Any) -> Any:
        if self._ended is not None:
            # Who tidies up after the end is told of that end, and not of another one.
            raise self._ended
        until = time.monotonic() + self._deadline
        answered = False
        try:
            opendss_child.send(self._link, [method, arguments], until)
            number, result, command = opendss_child.receive(self._link, until)
            answered = True
        except TimeoutError:
            message = f"OpenDSS gave no answer within {self._deadline:g} s and was stopped."
            self._ended = _failure(504, "deadline", message)
            raise self._ended from None
        except (OSError, EOFError, ValueError) as error:
            message = "OpenDSS broke down while it worked on this request; please try again."
            self._ended = _failure(503, "engine-died", message, retry_after=1)
            raise self._ended from error
        finally:
            # Whatever interrupted: a late answer must not be taken for that to another question.
            if not answered and self.end.alive:
                log.error("OpenDSS process %d ended in %s", self.process.pid, method)
                self.end()
        if number:
            raise refusal(number, result, command)
        return result


def _end(process: subprocess.Popen[bytes], link: socket.socket, owner: int) -> None:
    link.close()
    if os.getpid() == owner:
        process.kill()
        process.wait()


def _empties(session: Session) -> bool:
    """Empty a session; False: it is not to be used again."""
    try:
        session.clear()
    except (EngineError, ProblemError):
        return False
    return True


def _failure(status: int, kind: str, message: str, **extra: int) -> ProblemError:
    problem = Problem(kind=kind, message=message)
    return ProblemError([problem], status=status, kind=kind, extra=extra)


def _from_environment(name: str, default: int) -> int:
    """A positive whole number from the environment; an empty variable counts as absent."""
    value = os.environ.get(name) or str(default)
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise ValueError(f"{name}: “{value}” is no positive whole number.")
    return int(value)
