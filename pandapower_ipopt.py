"""Ipopt, which CasADi's wheels bring with its linear solver, through Ipopt's own C interface.

Functions and derivatives are ours, in numpy: nothing is derived symbolically. The solver runs
without Python's lock, one solution at a time: MUMPS, which factorises for it, has global state.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from electrisim.network import Array


class Programme(Protocol):
    """min f(x) subject to g_lo ≤ g(x) ≤ g_hi and x_lo ≤ x ≤ x_hi; infinite where there is no limit.

    jac_at   rows and columns of the Jacobian's entries, shape (2, k); repeated ones add up
    hess_at  the same of the Hessian of the Lagrangian, its lower triangle
    """

    x_lo: Array
    x_hi: Array
    g_lo: Array
    g_hi: Array
    jac_at: Array
    hess_at: Array

    def objective(self, x: Array) -> float: ...

    def gradient(self, x: Array) -> Array: ...

    def constraints(self, x: Array) -> Array: ...

    def jacobian(self, x: Array) -> Array: ...

    def hessian(self, x: Array, weight: float, multipliers: Array) -> Array: ...


class Found(NamedTuple):
    """Where Ipopt stopped.

    multipliers  of the constraints: the gradient of f + multipliers · g + z_hi − z_lo vanishes
    status       Ipopt's: 0 solved, 1 solved to an acceptable level, −1 iterations spent,
                 −5 time spent, and other reasons
    """

    x: Array
    multipliers: Array
    z_lo: Array
    z_hi: Array
    status: int
    iterations: int

    @property
    def solved(self) -> bool:
        return self.status in (SOLVED, ACCEPTABLE)


SOLVED, ACCEPTABLE, ITERATIONS_SPENT, TIME_SPENT = 0, 1, -1, -5
#: What Ipopt takes for infinity.
_INFINITE = 2e19
_LOCK = threading.Lock()

_Number, _Index, _Bool, _User = ctypes.c_double, ctypes.c_int, ctypes.c_bool, ctypes.c_void_p
_Numbers, _Indices = ctypes.POINTER(_Number), ctypes.POINTER(_Index)
_F = ctypes.CFUNCTYPE(_Bool, _Index, _Numbers, _Bool, _Numbers, _User)
_G = ctypes.CFUNCTYPE(_Bool, _Index, _Numbers, _Bool, _Index, _Numbers, _User)
_JAC = ctypes.CFUNCTYPE(
    _Bool, _Index, _Numbers, _Bool, _Index, _Index, _Indices, _Indices, _Numbers, _User
)
_HESS = ctypes.CFUNCTYPE(
    _Bool, _Index, _Numbers, _Bool, _Number, _Index, _Numbers, _Bool, _Index, _Indices, _Indices,
    _Numbers, _User,
)  # fmt: skip
_STEP = ctypes.CFUNCTYPE(_Bool, _Index, _Index, *[_Number] * 8, _Index, _User)


@functools.cache
def _library() -> ctypes.CDLL:
    """Ipopt's shared library. CasADi itself is not imported."""
    spec = importlib.util.find_spec("casadi")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    names = ("libipopt.so.3", "libipopt.3.dylib", "libipopt.dylib", "libipopt-3.dll")
    path = next(folder / name for name in names if (folder / name).exists())
    ipopt = ctypes.CDLL(str(path))
    ipopt.CreateIpoptProblem.restype = _User
    ipopt.CreateIpoptProblem.argtypes = [
        _Index, _Numbers, _Numbers, _Index, _Numbers, _Numbers, _Index, _Index, _Index,
        _F, _G, _F, _JAC, _HESS,
    ]  # fmt: skip
    ipopt.FreeIpoptProblem.argtypes = [_User]
    ipopt.FreeIpoptProblem.restype = None
    ipopt.SetIntermediateCallback.argtypes = [_User, _STEP]
    ipopt.SetIntermediateCallback.restype = _Bool
    ipopt.AddIpoptStrOption.argtypes = [_User, ctypes.c_char_p, ctypes.c_char_p]
    ipopt.AddIpoptNumOption.argtypes = [_User, ctypes.c_char_p, _Number]
    ipopt.AddIpoptIntOption.argtypes = [_User, ctypes.c_char_p, _Index]
    for name in ("AddIpoptStrOption", "AddIpoptNumOption", "AddIpoptIntOption"):
        getattr(ipopt, name).restype = _Bool
    ipopt.IpoptSolve.argtypes = [_User, *[_Numbers] * 6, _User]
    ipopt.IpoptSolve.restype = _Index
    return ipopt


@functools.cache
def version() -> str:
    """Ipopt's version, e.g. "3.14.19"."""
    parts = (_Index * 3)()
    at = (ctypes.byref(parts, k * ctypes.sizeof(_Index)) for k in range(3))
    _library().GetIpoptVersion(*at)
    return ".".join(str(part) for part in parts)


def minimise(
    programme: Programme, start: Array, options: Mapping[str, str | float | int], seconds: float
) -> Found:
    """Solve a programme from a start; whatever the functions raise is raised again here.

    seconds  for the turn to come and the solution together
    """
    end = time.monotonic() + seconds
    if not _LOCK.acquire(timeout=seconds):
        n, m = len(start), len(programme.g_lo)
        return Found(start, np.zeros(m), np.zeros(n), np.zeros(n), TIME_SPENT, 0)
    try:
        left = max(end - time.monotonic(), 1e-9)
        return _Solution(programme, start).run({**options, "max_wall_time": left})
    finally:
        _LOCK.release()


class _Solution:
    def __init__(self, programme: Programme, start: Array) -> None:
        self.programme = programme
        self.x = np.array(start, dtype=float)
        self.iterations = 0
        self.error: BaseException | None = None
        # Ipopt keeps the addresses; they live as long as this object.
        self.callbacks = (
            _F(self._guarded(self._f)), _G(self._guarded(self._g)),
            _F(self._guarded(self._gradient)), _JAC(self._guarded(self._jacobian)),
            _HESS(self._guarded(self._hessian)), _STEP(self._step),
        )  # fmt: skip

    def run(self, options: Mapping[str, str | float | int]) -> Found:
        p, ipopt = self.programme, _library()
        bounds = [
            np.clip(bound, -_INFINITE, _INFINITE) for bound in (p.x_lo, p.x_hi, p.g_lo, p.g_hi)
        ]
        x_lo, x_hi, g_lo, g_hi = map(_address, bounds)
        n, m = len(p.x_lo), len(p.g_lo)
        sizes = p.jac_at.shape[1], p.hess_at.shape[1]
        *functions, step = self.callbacks
        problem = ipopt.CreateIpoptProblem(n, x_lo, x_hi, m, g_lo, g_hi, *sizes, 0, *functions)
        try:
            ipopt.SetIntermediateCallback(problem, step)
            for name, value in options.items():
                _set(ipopt, problem, name, value)
            g, multipliers, objective = np.zeros(m), np.zeros(m), np.zeros(1)
            z_lo, z_hi = np.zeros(n), np.zeros(n)
            outs = map(_address, (self.x, g, objective, multipliers, z_lo, z_hi))
            status = ipopt.IpoptSolve(problem, *outs, None)
        finally:
            ipopt.FreeIpoptProblem(problem)
        if self.error is not None:
            raise self.error
        return Found(self.x, multipliers, z_lo, z_hi, status, self.iterations)

    def _guarded(self, function: Callable[..., None]) -> Callable[..., bool]:
        """Nothing can be raised through C: it is kept, and Ipopt is told to stop."""

        def call(*arguments: Any) -> bool:
            if self.error is not None:
                return False
            try:
                function(*arguments)
            except BaseException as error:  # noqa: BLE001
                self.error = error
                return False
            return True

        return call

    def _step(self, mode: int, iteration: int, *others: Any) -> bool:
        self.iterations = iteration
        return self.error is None

    def _f(self, n: int, x: Any, new: bool, out: Any, user: Any) -> None:
        out[0] = self.programme.objective(_view(x, n))

    def _gradient(self, n: int, x: Any, new: bool, out: Any, user: Any) -> None:
        _view(out, n)[:] = self.programme.gradient(_view(x, n))

    def _g(self, n: int, x: Any, new: bool, m: int, out: Any, user: Any) -> None:
        _view(out, m)[:] = self.programme.constraints(_view(x, n))

    def _jacobian(
        self, n: int, x: Any, new: bool, m: int, count: int, rows: Any, cols: Any, out: Any, _: Any
    ) -> None:
        if rows:
            _view(rows, count)[:], _view(cols, count)[:] = self.programme.jac_at
        else:
            _view(out, count)[:] = self.programme.jacobian(_view(x, n))

    def _hessian(
        self, n: int, x: Any, new: bool, weight: float, m: int, multipliers: Any, new_too: bool,
        count: int, rows: Any, cols: Any, out: Any, user: Any,
    ) -> None:  # fmt: skip
        if rows:
            _view(rows, count)[:], _view(cols, count)[:] = self.programme.hess_at
        else:
            found = self.programme.hessian(_view(x, n), weight, _view(multipliers, m))
            _view(out, count)[:] = found


def _address(values: Array) -> Any:
    return values.ctypes.data_as(_Numbers)


def _view(pointer: Any, count: int) -> Array:
    return np.ctypeslib.as_array(pointer, (count,)) if count else np.zeros(0)


def _set(ipopt: ctypes.CDLL, problem: Any, name: str, value: str | float | int) -> None:
    key = name.encode()
    if isinstance(value, str):
        taken = ipopt.AddIpoptStrOption(problem, key, value.encode())
    elif isinstance(value, int):
        taken = ipopt.AddIpoptIntOption(problem, key, value)
    else:
        taken = ipopt.AddIpoptNumOption(problem, key, value)
    if not taken:
        raise ValueError(f"Ipopt does not take the option {name} = {value}.")
