"""OpenDSS' fault study: what flows into faults of a network without load.

The engine tells, per bus, the open-circuit voltages and the impedances between its nodes (mode
faultstudy); the currents of a fault follow from these by its boundary conditions, in phases where
these differ and in the positive sequence where one phase stands for three.

Sources are voltages behind impedances: external grids Un²/S″k, synchronous machines their
subtransient reactance, asynchronous ones their locked-rotor impedance. Machines float: their inner
voltages are those that the network has without them, so that nothing flows before the fault. Loads,
shunts and converters do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim import iec60909 as iec
from electrisim.elements import Element
from electrisim.network import Array, Network, Rows
from electrisim.phases import TO_SEQUENCES
from electrisim.problems import NotConvergedError
from electrisim.sources import Case, sources
from electrisim.studies.shortcircuit import PHASE_COLUMNS, Faulted, ShortCircuit
from electrisim.topology import Topology
from opendss_circuit import Circuit
from opendss_results import NodeVoltages, positive_sequence
from opendss_session import Session, Thevenin

#: Kinds of which nothing is made: their sources are made here, their loads do not count.
LEFT_OUT = (e.Generator, e.StaticGenerator, e.Motor, e.Ward, e.ExtendedWard)
#: Zero-sequence impedance of machines, whose star points are not earthed, by their own [1].
ISOLATED = 1e6
#: Reactance of the fault that the engine is given to check a current, by the impedance there [1].
METALLIC = 1e-9
#: The phases of pairs, as columns name them.
PAIRS: Mapping[str, tuple[int, int]] = MappingProxyType({"ab": (0, 1), "bc": (1, 2), "ca": (2, 0)})


class _Sources(NamedTuple):
    """Voltages behind impedances.

    node       where they are
    z1, z0     impedances [Ω]
    emf_kv     inner voltages, line to line; NaN where they float
    """

    node: Array
    z1: Array
    z0: Array
    emf_kv: Array


def solve(circuit: Circuit, session: Session, settings: ShortCircuit, buses: Array) -> Faulted:
    """The currents of a fault at each of these buses; raises EngineError."""
    _study(circuit, session)
    nodes = np.unique(circuit.node[buses])
    seen = session.thevenin(circuit.names(nodes))
    faults = {
        int(node): _Fault(circuit, settings, told)
        for node, told in zip(nodes.tolist(), seen, strict=True)
    }
    table = {name: np.full(len(circuit.node), np.nan) for name in PHASE_COLUMNS}
    for row in buses.tolist():
        for name, value in faults[int(circuit.node[row])].columns().items():
            table[name][row] = value
    missed = np.full(len(circuit.node), np.nan)
    worst = max(buses.tolist(), key=lambda row: table["ikss_ka"][row])
    missed[worst] = _missed(circuit, session, settings, faults[int(circuit.node[worst])], worst)
    tables: dict[type[Element], dict[str, Array]] = {kind: {} for kind in circuit.network.kinds}
    return Faulted(
        tables={**tables, e.Bus: table},
        faults=(),
        factors={},
        mismatch_ka=missed,
        solver="fault study (OpenDSS)",
        warnings=tuple(_converters(circuit.network, circuit.topology)),
    )


def _converters(network: Network, topology: Topology) -> Iterator[str]:
    rows = network.rows(e.StaticGenerator)
    found, _ = sources(network, topology, Case("max", 10))
    idle = [
        rows.label(int(row))
        for source in found
        if source.kind is e.StaticGenerator
        for row in source.row[source.current_ka > 0]
    ]
    if idle:
        yield f"Converters bring no current in this study: {', '.join(idle)}."


# -- the circuit -----------------------------------------------------------------------------------


def _study(circuit: Circuit, session: Session) -> None:
    """Leave the session with a solved fault study."""
    found = _sources(circuit)
    held = np.flatnonzero(~np.isnan(found.emf_kv))
    floating = np.flatnonzero(np.isnan(found.emf_kv))
    session.run(
        [
            f"set defaultbasefrequency={circuit.network.frequency_hz!r}",
            *_commands(circuit, found, held),
            *(c for part in circuit.parts if part.kind not in LEFT_OUT for c in part.commands),
            "set controlmode=off",
            "makebuslist",
            *circuit.voltage_bases(),
        ]
    )
    session.solve()
    if len(floating):
        phases_kv = NodeVoltages(circuit, session).phases_kv()
        here = np.sqrt(3) * positive_sequence(phases_kv)[found.node]
        session.run(_commands(circuit, found._replace(emf_kv=here), floating))
    session.run(["set mode=faultstudy"])
    session.solve()
    if not np.isfinite(session.voltages()).all():
        raise NotConvergedError("OpenDSS found no voltages before the fault.")


def _commands(circuit: Circuit, found: _Sources, which: Array) -> list[str]:
    commands = []
    for k in which.tolist():
        # The circuit's own source is the first that holds a voltage.
        first = k == which[0] and not np.isnan(found.emf_kv[which[0]]) and k == _first(found)
        name = "circuit.electrisim" if first else f"vsource.s{k}"
        node, kv = int(found.node[k]), float(circuit.vn_kv[found.node[k]])
        pu, degree = float(abs(found.emf_kv[k]) / kv), float(np.degrees(np.angle(found.emf_kv[k])))
        z1, z0 = complex(found.z1[k]), complex(found.z0[k])
        commands.append(
            f"new {name} phases=3 bus1={circuit.nodes[node]}.1.2.3 basekv={kv!r} pu={pu!r} "
            f"angle={degree!r} r1={z1.real!r} x1={z1.imag!r} r0={z0.real!r} x0={z0.imag!r}"
        )
    return commands


def _first(found: _Sources) -> int:
    return int(np.flatnonzero(~np.isnan(found.emf_kv))[0])


def _sources(circuit: Circuit) -> _Sources:
    """All sources; the grids hold their voltages, of islands without one a generator does."""
    network, topology = circuit.network, circuit.topology
    parts = [_grids(circuit)]
    found, _ = sources(network, topology, Case("max", 10))
    for source in found:
        rows = network.rows(source.kind)
        if source.kind is e.ExternalGrid:
            continue
        z1 = _machine_ohm(rows, source.row) if source.kind is e.Generator else source.z_ohm
        turns = np.isfinite(z1)
        node = circuit.node[source.bus[turns]]
        emf = np.full(len(node), np.nan + 0j)
        if source.kind is e.Generator:
            emf = _alone(circuit, rows, source.row)
        parts.append(_Sources(node, z1[turns], ISOLATED * z1[turns], emf))
    return _Sources(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _grids(circuit: Circuit) -> _Sources:
    """Z = Un²/S″k: at its own bus a grid brings the current of its short-circuit power."""
    some = circuit.some(e.ExternalGrid)
    if not len(some):
        nothing = np.zeros(0, dtype=complex)
        return _Sources(np.zeros(0, dtype=np.int64), nothing, nothing, nothing)
    node = circuit.at(some)
    kv = circuit.vn_kv[node]
    rx = some["rx_max"]
    x = kv**2 / some["s_sc_max_mva"] / np.hypot(1, rx)
    x0 = x * some.given("x0x_max", 1.0)
    emf = some["vm_pu"] * kv * np.exp(1j * np.radians(some["va_degree"]))
    return _Sources(node, x * (rx + 1j), x0 * (some.given("r0x0_max", rx) + 1j), emf)


def _machine_ohm(rows: Rows, row: Array) -> Array:
    vn_kv, sn_mva, xdss_pu, rdss_ohm = (
        rows.column(name)[row] for name in ("vn_kv", "sn_mva", "xdss_pu", "rdss_ohm")
    )
    return np.asarray(rdss_ohm + 1j * xdss_pu * vn_kv**2 / sn_mva)


def _alone(circuit: Circuit, rows: Rows, row: Array) -> Array:
    """Inner voltages of generators: they float (NaN) but for one of an island without grid."""
    emf = np.full(len(row), np.nan + 0j)
    network = circuit.network
    held = np.zeros(len(rows), dtype=bool)
    fed = _fed(network, held)
    for k, generator in enumerate(row.tolist()):
        bus = int(rows.at["bus"][generator])
        if not fed[bus]:
            held[generator] = True
            fed = _fed(network, held)
            emf[k] = rows.elements[generator].vm_pu * circuit.vn_kv[circuit.node[bus]]
    return emf


def _fed(network: Network, held: Array) -> Array:
    """Which buses are fed by grids and by these generators."""
    edits = {row: {"slack": bool(flag)} for row, flag in enumerate(held.tolist())}
    return Topology(network.changed({e.Generator: edits})).bus


# -- faults ----------------------------------------------------------------------------------------


class _Fault:
    """A fault at one node, whatever its kind: voltages and impedances of its phases.

    phases   which there are, 0, 1, 2
    volts    before the fault [kV]
    z        impedances [Ω], shape (phases, phases); z_fault what every faulted phase adds
    """

    def __init__(self, circuit: Circuit, settings: ShortCircuit, seen: Thevenin) -> None:
        kept = np.argsort(seen.nodes, kind="stable")[: int((seen.nodes <= 3).sum())]
        self.circuit, self.settings = circuit, settings
        self.phases = seen.nodes[kept] - 1
        self.volts = seen.volts[kept] / 1e3
        self.z = seen.z_ohm[np.ix_(kept, kept)]
        self.z_fault = complex(settings.r_fault_ohm, settings.x_fault_ohm)

    def columns(self) -> dict[str, float]:
        by_phase = _CURRENTS[self.settings.fault](self)
        if not by_phase:
            return {}
        ikss_ka = max(by_phase.values())
        z1, z0 = self.sequences()
        kappa = float(iec.kappa(z1.real / z1.imag)) if z1.imag > 0 else 1.02
        m = float(iec.m(kappa, self.circuit.network.frequency_hz, self.settings.tk_s))
        v_kv = np.abs(self.volts).mean() * np.sqrt(3)
        balanced = self.settings.fault == "3ph" and len(self.phases) == 3
        return {
            "ikss_ka": ikss_ka,
            "ip_ka": np.sqrt(2) * kappa * ikss_ka,
            "ith_ka": ikss_ka * np.sqrt(1 + m),
            "skss_mw": np.sqrt(3) * v_kv * ikss_ka if balanced else np.nan,
            "rk_ohm": z1.real, "xk_ohm": z1.imag, "rk0_ohm": z0.real, "xk0_ohm": z0.imag,
            **{f"ikss_{phases}_ka": value for phases, value in by_phase.items()},
        }  # fmt: skip

    def sequences(self) -> tuple[complex, complex]:
        """Impedances of the positive and the zero sequence, the fault's own included."""
        nothing = complex(np.nan, np.nan)
        if len(self.phases) == 3:
            z012 = TO_SEQUENCES @ self.z @ np.linalg.inv(TO_SEQUENCES)
            zero = z012[0, 0] + self.z_fault if self.circuit.unbalanced else nothing
            return complex(z012[1, 1] + self.z_fault), complex(zero)
        own = np.diag(self.z).mean()
        mutual = self.z[0, 1] if len(self.phases) == 2 else 0
        return complex(own - mutual + self.z_fault), nothing

    def balanced_ka(self) -> float:
        """The current of three equal phases, from the positive sequence alone."""
        volts = (TO_SEQUENCES @ self.volts)[1]
        return float(abs(volts / self.sequences()[0]))

    def together_ka(self) -> Array:
        """The currents of all phases to earth."""
        z = self.z + self.z_fault * np.eye(len(self.z))
        return np.abs(np.linalg.solve(z, self.volts))

    def pairs(self) -> Iterator[tuple[str, int, int]]:
        at = {int(phase): k for k, phase in enumerate(self.phases)}
        for name, (one, other) in PAIRS.items():
            if one in at and other in at:
                yield name, at[one], at[other]


def _three_phase(fault: _Fault) -> dict[str, float]:
    if not fault.circuit.unbalanced:
        return dict.fromkeys("abc", fault.balanced_ka())
    if len(fault.phases) < 3:
        return {}
    return dict(zip("abc", fault.together_ka().tolist(), strict=True))


def _two_phase(fault: _Fault) -> dict[str, float]:
    if not fault.circuit.unbalanced:
        return dict.fromkeys(PAIRS, fault.balanced_ka() * np.sqrt(3) / 2)
    found = {}
    for name, one, other in fault.pairs():
        z = fault.z[one, one] + fault.z[other, other] - fault.z[one, other] - fault.z[other, one]
        found[name] = float(abs((fault.volts[one] - fault.volts[other]) / (z + 2 * fault.z_fault)))
    return found


def _two_phase_ground(fault: _Fault) -> dict[str, float]:
    found = {}
    for name, one, other in fault.pairs():
        pair = [one, other]
        z = fault.z[np.ix_(pair, pair)] + fault.z_fault * np.eye(2)
        found[name] = float(np.abs(np.linalg.solve(z, fault.volts[pair])).max())
    return found


def _single_phase(fault: _Fault) -> dict[str, float]:
    own = np.diag(fault.z) + fault.z_fault
    currents = np.abs(fault.volts / own)
    return {"abc"[p]: float(i) for p, i in zip(fault.phases.tolist(), currents, strict=True)}


_CURRENTS: Mapping[str, Callable[[_Fault], dict[str, float]]] = MappingProxyType(
    {
        "3ph": _three_phase,
        "2ph": _two_phase,
        "2ph_ground": _two_phase_ground,
        "1ph": _single_phase,
    }
)


# -- the engine's word on one of them --------------------------------------------------------------


def _missed(
    circuit: Circuit, session: Session, settings: ShortCircuit, fault: _Fault, row: int
) -> float:
    """By how much a fault that the engine solves as an element differs from its own figures [kA].

    All phases to earth, metallic, at the bus with the largest current.
    """
    node = circuit.nodes[int(circuit.node[row])]
    numbers = ".".join(str(phase + 1) for phase in fault.phases.tolist())
    x = METALLIC * abs(fault.sequences()[0])
    expected = np.linalg.solve(fault.z, fault.volts)
    session.run(
        [
            f"new reactor.fault phases={len(fault.phases)} bus1={node}.{numbers} r=0 x={x!r}",
            "set mode=direct",
        ]
    )
    session.solve()
    [currents] = session.currents(["reactor.fault"])
    found = currents[: len(fault.phases)] / 1e3
    missed: Sequence[float] = np.abs(np.abs(found) - np.abs(expected)).tolist()
    return max(missed)
