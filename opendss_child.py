"""EPRI's own build of OpenDSS in a process of its own, and the frames in which it is spoken to.

The engine is one per process, prints, changes directory and has a shell. So this process has
nothing that it could reach: its input is a socket, its outputs lead nowhere, its environment is
empty, its directory has been removed, and it may not write a byte to a file. It ends when the
other end of the socket does.

`opendss_bindings` starts it. A request is `[method, arguments]`, an answer `[0, result, ""]` or
`[number, text, command]` of an error.
"""

from __future__ import annotations

import array
import os
import queue
import resource
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

_LENGTH = struct.Struct(">I")

# Numbers of errors: one of ours, and one of both engines'.
UNKNOWN_ELEMENT = -1
CONTROLS_UNSETTLED = 485


def send(link: socket.socket, message: object, deadline: float | None = None) -> None:
    """Send one frame; `deadline` is a reading of time.monotonic(), after it TimeoutError."""
    body = msgspec.msgpack.encode(message)
    link.settimeout(_remaining(deadline))
    link.sendall(_LENGTH.pack(len(body)) + body)


def receive(link: socket.socket, deadline: float | None = None) -> Any:
    """Receive one frame; raises EOFError where the other end is gone, TimeoutError as `send`."""
    (length,) = _LENGTH.unpack(_receive_exactly(link, _LENGTH.size, deadline))
    return msgspec.msgpack.decode(_receive_exactly(link, length, deadline))


def _receive_exactly(link: socket.socket, size: int, deadline: float | None) -> bytearray:
    body = bytearray(size)
    view = memoryview(body)
    while view:
        link.settimeout(_remaining(deadline))
        received = link.recv_into(view)
        if not received:
            raise EOFError
        view = view[received:]
    return body


def _remaining(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 1e-3)


class _RefusedError(Exception):
    """A command that the engine does not accept: number, text, command."""


class _Engine:
    """The methods that the parent may ask for, each with arguments of plain values."""

    def __init__(self) -> None:
        from py_dss_interface import DSS

        self._dss = DSS()
        self._dss.dssinterface.allow_forms = 0

    def version(self) -> str:
        return str(self._dss.dssinterface.version)

    def run(self, commands: Sequence[str]) -> None:
        for command in commands:
            text = self._dss.text(command)
            number = self._dss.errorinterface.error_code
            if number:
                raise _RefusedError(number, text, command)

    def solve(self) -> tuple[bool, int]:
        solution = self._dss.solution
        solution.solve()
        number = self._dss.errorinterface.error_code
        if number not in (0, CONTROLS_UNSETTLED):
            raise _RefusedError(number, "", "solve")
        return bool(solution.converged) and not number, solution.total_iterations

    def node_names(self) -> list[str]:
        return [name.lower() for name in self._dss.circuit.y_node_order]

    def voltages(self) -> bytes:
        return array.array("d", self._dss.circuit.y_node_varray).tobytes()

    def powers(self, elements: Sequence[str]) -> tuple[bytes, list[int]]:
        return self._read("powers", elements)

    def currents(self, elements: Sequence[str]) -> tuple[bytes, list[int]]:
        return self._read("currents", elements)

    def properties(self, names: Sequence[str]) -> list[str]:
        found = []
        for name in names:
            text = self._dss.text(f"? {name}")
            number = self._dss.errorinterface.error_code
            if number:
                raise _RefusedError(number, text, name)
            found.append(text)
        return found

    def thevenin(self, buses: Sequence[str]) -> bytes:
        circuit, bus = self._dss.circuit, self._dss.bus
        values = array.array("d")
        for name in buses:
            if int(circuit.set_active_bus(name)) < 0:
                raise _RefusedError(UNKNOWN_ELEMENT, "no such bus", name)
            values.extend(bus.voc)
            values.extend(bus.zsc_matrix)
        return values.tobytes()

    def set_angles(self, sources: Sequence[str], degrees: Sequence[float]) -> None:
        self._set("angle_deg", sources, degrees)

    def set_magnitudes(self, sources: Sequence[str], per_unit: Sequence[float]) -> None:
        self._set("pu", sources, per_unit)

    def _read(self, quantity: str, elements: Sequence[str]) -> tuple[bytes, list[int]]:
        values, sizes = array.array("d"), []
        for name in elements:
            if self._dss.circuit.set_active_element(name) == "-1":
                raise _RefusedError(UNKNOWN_ELEMENT, "no such element", name)
            read = getattr(self._dss.cktelement, quantity)
            values.extend(read)
            sizes.append(len(read) // 2)
        return values.tobytes(), sizes

    def _set(self, quantity: str, sources: Sequence[str], values: Sequence[float]) -> None:
        vsources = self._dss.vsources
        for source, value in zip(sources, values, strict=True):
            vsources.name = source
            if vsources.name != source:
                raise _RefusedError(UNKNOWN_ELEMENT, "no such source", source)
            setattr(vsources, quantity, value)


def _listen(link: socket.socket, requests: queue.SimpleQueue[Any]) -> None:
    """Pass requests on, and end the process with its parent even while the engine is busy."""
    try:
        while True:
            requests.put(receive(link))
    except (EOFError, OSError):
        os._exit(0)


def main() -> NoReturn:
    link = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(link, requests), daemon=True).start()
    with tempfile.TemporaryDirectory() as home:
        # The engine makes itself a folder in HOME, and goes into that of its own library.
        os.environ["HOME"] = home
        engine = _Engine()
        os.chdir(home)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        method, arguments = requests.get()
        try:
            answer = [0, getattr(engine, method)(*arguments), ""]
        except _RefusedError as refused:
            answer = list(refused.args)
        send(link, answer)


if __name__ == "__main__":
    sys.exit(main())
