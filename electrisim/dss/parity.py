"""Whether a graph is the circuit that was said: both solved, and their voltages compared.

The circuit is solved by OpenDSS from commands in our own words, the graph by the power flow study.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from electrisim import elements as e
from electrisim.dss.circuit import Imported
from electrisim.dss.commands import Spoken, spoken
from electrisim.dss.script import Circuit
from electrisim.dss.wiring import UnrepresentedError, across, phase_word
from electrisim.engine import Engines
from electrisim.fields import read
from electrisim.network import Network
from electrisim.problems import ProblemError
from electrisim.results import Answer
from electrisim.studies import powerflow

#: Voltages nearer than this are the same [pu].
AGREE_PU = 1e-4


class Solved(NamedTuple):
    """An engine's solution of commands: node (“b1.2”) → voltage to earth [V]."""

    version: str
    converged: bool
    voltages: Mapping[str, complex]


#: Solves commands of ours; raises ProblemError where an engine is not to be had.
Solving = Callable[[list[str]], Solved]


class Parity(msgspec.Struct, frozen=True):
    """The graph's solution against OpenDSS' own of the same circuit, controls off.

    status        agree (to 1e-4 pu), differ, or not-solved (by either)
    message       in a sentence
    engine        what solved the circuit
    nodes         how many voltages were compared
    max_vm_difference_pu, max_va_difference_degree  the largest, at `bus` and `phase`
    outside_band  loads at voltages at which OpenDSS makes impedances of them (vminpu, vmaxpu), as
                  the graph does not
    """

    status: str
    message: str
    engine: str | None = None
    nodes: int = 0
    max_vm_difference_pu: float | None = None
    max_va_difference_degree: float | None = None
    bus: str | None = None
    phase: str | None = None
    outside_band: list[str] = []


def parity(
    circuit: Circuit, imported: Imported, network: Network, engines: Engines, solving: Solving
) -> Parity:
    said = spoken(circuit)
    solved = solving(said.commands)
    if not solved.converged:
        return Parity("not-solved", "OpenDSS found no solution of the circuit.", solved.version)
    settings, _ = read(powerflow.PowerFlow, imported.settings, "The import", "setting")
    assert settings is not None  # they are ours
    try:
        answer = powerflow.run(network, settings, engines)
    except ProblemError as error:
        return Parity("not-solved", f"The graph has no solution. {error.sentence}", solved.version)
    return _compared(circuit, network, answer, said, solved)


def _compared(
    circuit: Circuit, network: Network, answer: Answer, said: Spoken, solved: Solved
) -> Parity:
    pairs = list(_pairs(network, answer, said, solved.voltages))
    if not pairs:
        return Parity("not-solved", "No voltage is known to both.", solved.version)
    ours = np.array([pair[2] for pair in pairs])
    theirs = np.array([pair[3] for pair in pairs])
    vm = np.abs(np.abs(ours) - np.abs(theirs))
    alive = (np.abs(ours) > 1e-3) & (np.abs(theirs) > 1e-3)
    turned = np.where(alive, np.degrees(np.angle(ours * np.conj(theirs))), 0.0)
    apart = np.abs(ours - theirs)
    worst = int(apart.argmax())
    agree = float(apart.max()) <= AGREE_PU
    bus, phase = pairs[worst][:2]
    text = (
        "The graph's voltages are those of the circuit."
        if agree
        else f"The graph's voltage at {bus} is not that of the circuit."
    )
    return Parity(
        "agree" if agree else "differ", text, solved.version, len(pairs), float(vm.max()),
        float(np.abs(turned).max()), bus, phase, list(_outside(circuit, said, solved.voltages)),
    )  # fmt: skip


def _pairs(
    network: Network, answer: Answer, said: Spoken, voltages: Mapping[str, complex]
) -> Iterator[tuple[str, str | None, complex, complex]]:
    """(bus, phase, ours, theirs) in per unit; of balanced answers the positive sequence."""
    rows, table = network.rows(e.Bus), answer.tables[e.Bus]
    in_phases = "vm_a_pu" in table
    for row, id_ in enumerate(rows.ids):
        name = said.buses.get(id_.removeprefix("bus."))
        if name is None:
            continue
        base = 1e3 * rows.elements[row].vn_kv / math.sqrt(3)
        theirs = [voltages.get(f"{name}.{node}") for node in (1, 2, 3)]
        for phase, value in zip("abc", theirs, strict=True) if in_phases else ():
            ours = _phasor(table[f"vm_{phase}_pu"][row], table[f"va_{phase}_degree"][row])
            if value is not None and ours is not None:
                yield id_, phase, ours, value / base
        if not in_phases and None not in theirs:
            ours = _phasor(table["vm_pu"][row], table["va_degree"][row])
            turn = np.exp(2j * np.pi / 3)
            a, b, c = (value or 0j for value in theirs)
            if ours is not None:
                yield id_, None, ours, (a + turn * b + turn**2 * c) / 3 / base


def _phasor(vm: float, va: float) -> complex | None:
    return None if math.isnan(vm) else complex(vm * np.exp(1j * math.radians(va)))


def _outside(circuit: Circuit, said: Spoken, voltages: Mapping[str, complex]) -> Iterator[str]:
    """Loads beyond their band, at the lowest or highest of their voltages."""
    for thing in circuit.of("load"):
        if thing.get("model", 1) == 2 or thing.get("enabled") is False:
            continue
        at = thing.get("bus1")
        try:
            word = phase_word(at, thing.get("phases", 3), str(thing.get("conn", "w"))[:1] in "dl")
        except UnrepresentedError:
            continue
        volts = [voltages.get(f"{said.buses[at.name]}.{node}", 0j) for node in (1, 2, 3)]
        seen = [abs(volts["abc".index(letter)]) for letter in word]
        nominal = 1e3 * across(thing.get("kv", 12.47), word[:1])
        if len(word) == 2:
            one, other = (volts["abc".index(letter)] for letter in word)
            seen, nominal = [abs(one - other)], 1e3 * thing.get("kv", 12.47)
        elif len(word) == 1:
            nominal = 1e3 * thing.get("kv", 12.47)
        low, high = thing.get("vminpu", 0.95), thing.get("vmaxpu", 1.05)
        if min(seen) < low * nominal or max(seen) > high * nominal:
            yield thing.id
