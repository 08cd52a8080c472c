"""The DSS C-API, in this process: one context of it as a Session.

Contexts are independent of each other and the engine works without Python's lock, so that
two of them solve on two processors. Each costs 1.6 MB that the engine never gives back, whatever
becomes of it: they are for a pool.
"""

from __future__ import annotations

import ctypes
import importlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opendss_child import CONTROLS_UNSETTLED, UNKNOWN_ELEMENT
from opendss_session import (
    EMPTY,
    Array,
    Solved,
    Thevenin,
    check,
    check_properties,
    refusal,
    split,
    thevenins,
)


def _load() -> Any:
    """Import opendssdirect so that threads cannot crash the process.

    The engine's runtime remembers where the environment lies when it is loaded, and reads it there
    whenever a thread enters the engine for the first time. But the C library moves the environment
    when somebody adds to it, and frees the old place. So the engine is shown a copy that stays.
    """
    if sys.platform == "linux" and "dss_python_backend" not in sys.modules:
        environ = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
        entries: list[bytes] = []
        while (entry := environ[len(entries)]) is not None:
            entries.append(entry)
        copy = (ctypes.c_char_p * (len(entries) + 1))(*entries)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(copy))  # beyond the interpreter's own end
        ctypes.c_void_p.in_dll(ctypes.CDLL(None), "environ").value = ctypes.addressof(copy)
    return importlib.import_module("opendssdirect")


opendssdirect = _load()

#: Commands after which every element is where it was, with as many conductors.
_MOVES_NOTHING = re.compile(r"edit \S+( (kw|kvar|wdg|tap)=\S+)+|set tolerance=\S+")


class Context:
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
            self._dss.Text.Commands(list(EMPTY))

    def run(self, commands: Sequence[str]) -> None:
        check(commands)
        if not all(_MOVES_NOTHING.fullmatch(command) for command in commands):
            self._handles.clear()
        try:
            # One call, because each call gives up Python's lock and may wait to get it back.
            self._dss.Text.Commands(list(commands))
        except opendssdirect.DSSException as error:
            # The engine stopped there, and its last command is the one that failed.
            number, text = error.args
            refused = refusal(number, text, self._dss.Text.Command())
            self.clear()
            raise refused from None

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
        # As Circuit.YNodeVArray, without a list of Python's numbers in between.
        with _asking("voltages"):
            self._dss._check_for_error(self._dss._lib.Circuit_Get_YNodeVarray_GR())
        pointer, shape = self._dss._api_util.gr_float64_pointers
        flat = self._ffi.buffer(pointer[0], shape[0] * 8)
        return np.frombuffer(flat, np.complex128).copy()

    def powers(self, elements: Sequence[str]) -> list[NDArray[np.complex128]]:
        return self._read(self._library.Alt_CEBatch_Get_Powers, elements)

    def currents(self, elements: Sequence[str]) -> list[NDArray[np.complex128]]:
        return self._read(self._library.Alt_CEBatch_Get_Currents, elements)

    def properties(self, names: Sequence[str]) -> list[str]:
        check_properties(names)
        found = []
        for name in names:
            with _asking(name):
                self._dss.Text.Command(f"? {name}")
                found.append(self._dss.Text.Result())
        return found

    def shapes(self, names: Sequence[str], kw: Array, kvar: Array) -> None:
        shapes = self._dss.LoadShape
        there = set(shapes.AllNames())
        self.run([f"new loadshape.{name}" for name in names if name not in there])
        columns = (np.ascontiguousarray(values.T) for values in (kw, kvar))
        for name, p, q in zip(names, *columns, strict=True):
            with _asking(name):
                shapes.Name(name)
                shapes.Npts(len(p))
                shapes.HrInterval(1.0)
                shapes.UseActual(True)
                shapes.PMult(p)
                shapes.QMult(q)

    def series(self, count: int) -> tuple[NDArray[np.bool_], NDArray[np.complex128]]:
        steps = [(self.solve().converged, self.voltages()) for _ in range(count)]
        return np.array([converged for converged, _ in steps]), np.array([v for _, v in steps])

    def thevenin(self, buses: Sequence[str]) -> list[Thevenin]:
        circuit, bus = self._dss.Circuit, self._dss.Bus
        values: list[NDArray[Any]] = []
        for name in buses:
            with _asking(name):
                if circuit.SetActiveBus(name) < 0:
                    raise refusal(UNKNOWN_ELEMENT, "no such bus", name)
                values += [np.asarray(bus.Voc()), np.asarray(bus.ZscMatrix())]
        flat = np.concatenate([np.zeros(0, dtype=complex), *(_complex(each) for each in values)])
        return thevenins(flat.tobytes(), buses, self.node_names())

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
        return split(flat, [size for _, size in found])

    def _find(self, name: str) -> tuple[Any, int]:
        """The engine's handle of an element and its conductors at all terminals; remembered."""
        if self._lookup.Circuit_SetActiveElement(name.encode("ascii")) < 0:
            raise refusal(UNKNOWN_ELEMENT, "no such element", name)
        element = self._dss.CktElement
        size = element.NumTerminals() * element.NumConductors()
        self._handles[name] = self._lookup.CktElement_Get_Pointer(), size
        return self._handles[name]


def _complex(values: NDArray[Any]) -> NDArray[np.complex128]:
    """Complex numbers that the interface may hand over as pairs."""
    flat = np.ascontiguousarray(values).ravel()
    return flat if np.iscomplexobj(flat) else flat.view(np.complex128)


@contextmanager
def _asking(question: str) -> Iterator[None]:
    try:
        yield
    except opendssdirect.DSSException as error:
        number, text = error.args
        raise refusal(number, text, question) from None
