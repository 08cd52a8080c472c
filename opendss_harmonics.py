"""Harmonics on OpenDSS: the solved network at other frequencies, and what its elements inject.

The engine solves the linear network at each frequency (mode direct). What is no branch becomes a
Norton source there: a current beside an admittance. Their models are OpenDSS' own:

    load        current in proportion to its fundamental; R and L, partly in series, partly parallel
    generator   voltage behind its subtransient reactance, in proportion to its e.m.f.
    PV system   voltage behind a resistance of half its rating
    storage     voltage behind a reactance of half its rating
    grid        its short-circuit impedance

The engine's own mode for harmonics writes a file of voltages into the working directory and reads
it again, so that two requests would read each other's: docs/decisions/0009-harmonics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.engine import Distortion
from electrisim.laws import by_phase
from electrisim.network import Array, Network, Rows, fault
from electrisim.problems import NotConvergedError, Problem
from electrisim.spectra import Spectrum
from opendss_circuit import Circuit, Some
from opendss_results import Flows, NodeVoltages
from opendss_session import Session
from opendss_sources import Sources, grid_impedance

#: OpenDSS' own figures: what is inside generators, PV systems and storages [pu], their rating by
#: their power, the part of a load that is R and L in series, and its X/R where X is given.
MACHINE_X_PU, PV_SYSTEM_PU, STORAGE_PU = 0.2, 0.5 + 0j, 0.5j
RATING, SERIES_RL_PERCENT, XR = 1.2, 50.0, 6.0
#: Less than this is no rating [MVA]: to harmonics the element is open.
LEAST_MVA = 1e-6

#: Classes of elements of constant power, which a linear network has not.
_NOT_LINEAR = ("load", "generator", "storage", "pvsystem")
_SEQUENCE = ("zero", "pos", "neg")


def refusals(network: Network) -> Iterator[Problem]:
    """Elements of which it is not known what they are to harmonics."""
    lines = network.rows(e.DCLine)
    for row in range(len(lines)):
        text = "has converters of which nothing is known at other frequencies"
        yield fault(lines, row, None, "unsupported", text)
    impedances = network.rows(e.Impedance)
    for row, element in enumerate(impedances.elements):
        r, x = element.rtf_pu, element.xtf_pu
        if r not in (None, element.rft_pu) or x not in (None, element.xft_pu):
            text = "differs by direction, which no circuit does at other frequencies"
            yield fault(impedances, row, "rtf_pu", "unsupported", text)


class _Emitters(NamedTuple):
    """Elements of a kind that may inject harmonics.

    node        where they are
    fundamental what each draws [A], or its e.m.f. [V] where it is a voltage source; of phase a
    z_ohm       behind which that voltage is, r + jx at the nominal frequency; NaN: a current source
    spectra     of each
    """

    node: Array
    fundamental: Array
    z_ohm: Array
    spectra: Sequence[Spectrum]

    def injected(self, order: float) -> Array:
        """The currents into the nodes at an order [A]."""
        shares = np.array([_share(spectrum, order) for spectrum in self.spectra])
        turned = np.abs(self.fundamental) * np.exp(1j * order * np.angle(self.fundamental))
        z = self.z_ohm.real + 1j * order * self.z_ohm.imag
        is_voltage = ~np.isnan(self.z_ohm)
        return np.asarray(shares * turned * np.where(is_voltage, 1 / z, -1))


def _share(spectrum: Spectrum, order: float) -> complex:
    for point in spectrum:
        if point.order == order:
            return complex(point.percent / 100 * np.exp(1j * np.deg2rad(point.degree)))
    return 0j


class Harmonics:
    """A solved circuit, made ready for other frequencies."""

    def __init__(
        self,
        circuit: Circuit,
        sources: Sources,
        session: Session,
        spectra: Mapping[type[Element], Sequence[Spectrum]],
        neglect_load_y: bool,
    ) -> None:
        self._circuit, self._sources, self._session = circuit, sources, session
        self._neglect_load_y = neglect_load_y
        self._flows = Flows(circuit, sources, session)
        self._phases_kv = NodeVoltages(circuit, session).phases_kv()
        self._assumed: dict[str, list[str]] = {}
        self._passive: list[str] = []
        self._emitters = list(self._find_emitters(spectra))
        self._nodes = np.unique(
            np.concatenate([np.zeros(0, dtype=np.int64), *(each.node for each in self._emitters)])
        )
        self.commands = [
            "set controlmode=off",
            *self._without_constant_power(),
            *self._without_earth_return(),
            *self._sources_as_impedances(),
            *self._passive,
            *(
                f"new isource.{name} phases=3 bus1={name}.1.2.3 amps=0 angle=0"
                for name in circuit.names(self._nodes)
            ),
            "set mode=direct",
        ]
        session.run(self.commands)
        self._voltages: NodeVoltages | None = None

    def distortion(self, orders: Sequence[float], script: str) -> Distortion:
        """Voltages and currents at these orders."""
        circuit = self._circuit
        buses = np.where(circuit.topology.bus, circuit.node, -1)
        voltage = np.full((len(orders), len(buses)), np.nan, dtype=complex)
        kinds = [kind for kind in circuit.ports if len(kind.ports) > 1]
        current = {
            kind: np.full((len(orders), *circuit.ports[kind].shape), np.nan, dtype=complex)
            for kind in kinds
        }
        lines = []
        for at, order in enumerate(orders):
            commands = self._at(order)
            lines += [*commands, "solve"]
            volts = np.vstack([self._solve(commands, order), np.full((1, 3), np.nan)])
            voltage[at] = np.sqrt(3) * volts[buses, 0]
            for kind, found in self._currents(kinds).items():
                current[kind][at] = found
        text = "\n".join([script.rstrip("\n"), *self.commands, *lines]) + "\n"
        return Distortion(voltage, current, text, tuple(self._assumptions()))

    def scan(self, bus: int, orders: Sequence[float]) -> Array:
        """The impedance that 1 A of the positive sequence meets at a bus [Ω]."""
        at = self._circuit.node[bus]
        node = self._circuit.nodes[at]
        silent = [f"edit isource.{name} amps=0" for name in self._circuit.names(self._nodes)]
        self._session.run(
            [*silent, f"new isource.scan{node} phases=3 bus1={node}.1.2.3 amps=1 angle=0"]
        )
        z = np.empty(len(orders), dtype=complex)
        for k, order in enumerate(orders):
            hertz = float(order * self._circuit.network.frequency_hz)
            commands = [f"set frequency={hertz!r}", f"edit isource.scan{node} frequency={hertz!r}"]
            z[k] = 1e3 * self._solve(commands, order)[at, 0]
        self._session.run([f"edit isource.scan{node} enabled=no"])
        return z

    # -- solving -----------------------------------------------------------------------------------

    def _at(self, order: float) -> list[str]:
        """The commands that set the frequency and the injected currents of an order."""
        hertz = float(order * self._circuit.network.frequency_hz)
        total = np.zeros(len(self._circuit.nodes), dtype=complex)
        for each in self._emitters:
            np.add.at(total, each.node, each.injected(order))
        amperes = total[self._nodes]
        degrees = np.angle(amperes, deg=True)
        sequence = _SEQUENCE[int(order) % 3]
        columns = (np.abs(amperes).tolist(), degrees.tolist())
        return [
            f"set frequency={hertz!r}",
            *(
                f"edit isource.{name} amps={amps!r} angle={degree!r} frequency={hertz!r} "
                f"sequence={sequence}"
                for name, amps, degree in zip(
                    self._circuit.names(self._nodes), *columns, strict=True
                )
            ),
        ]

    def _solve(self, commands: Sequence[str], order: float) -> Array:
        """Voltages of the nodes to earth [kV], shape (nodes, 3)."""
        self._session.run(commands)
        solved = self._session.solve()
        if self._voltages is None:
            self._voltages = NodeVoltages(self._circuit, self._session)
        phases = self._voltages.phases_kv()
        if not solved.converged or np.isinf(phases).any():
            raise NotConvergedError(f"OpenDSS found no solution at order {order:g}.")
        return phases

    def _currents(self, kinds: Sequence[type[Element]]) -> dict[type[Element], Array]:
        """What flows into each port of branches in phase a [kA]; NaN without supply."""
        circuit = self._circuit
        parts = [part for part in circuit.parts if part.kind in kinds]
        amperes = self._session.currents([name for part in parts for name in part.names])
        found = {
            kind: np.where(circuit.ports[kind] < 0, np.nan, np.zeros(1, dtype=complex))
            for kind in kinds
        }
        start = 0
        for part in parts:
            end = start + len(part.names)
            shape = (len(part.names), len(part.ports), -1)
            terminals = np.array(amperes[start:end]).reshape(shape) / 1e3
            start = end
            for terminal, port in enumerate(part.ports):
                if port is not None and part.kind is not None:
                    phase_a = part.phases[terminal].split(".").index("1")
                    found[part.kind][part.rows, port] += terminals[:, terminal, phase_a]
        return found

    # -- what becomes of the elements --------------------------------------------------------------

    def _find_emitters(
        self, spectra: Mapping[type[Element], Sequence[Spectrum]]
    ) -> Iterator[_Emitters]:
        for kind in self._circuit.network.kinds:
            some = self._circuit.some(kind)
            if not len(some):
                continue
            if kind in _CONSTANT:
                self._add_loads(some)
            if kind not in spectra:
                continue
            node = self._circuit.at(some)
            volts = 1e3 * self._phases_kv[node, 0]
            drawn = np.conj(1e6 * self._flows.mva[kind][some.index, 0, 0] / volts)
            z = np.full(len(some), np.nan + 0j)
            fundamental = drawn
            if kind not in _CONSTANT:
                z = self._impedance(some)
                fundamental = volts - z * drawn
                self._add_behind(some, z)
            own = [spectra[kind][row] for row in some.index]
            yield _Emitters(node, fundamental, z, own)

    def _impedance(self, some: Some) -> Array:
        """Behind which elements are voltage sources, at the nominal frequency [Ω]."""
        kind, kv = some.rows.kind, self._circuit.vn_kv[self._circuit.at(some)]
        if kind is e.ExternalGrid:
            return grid_impedance(some.rows, some.index, kv)[0]
        rating = self._rating_mva(some)
        if kind in (e.PVSystem, e.Storage):
            inside = PV_SYSTEM_PU if kind is e.PVSystem else STORAGE_PU
            return np.asarray(inside * kv**2 / rating)
        if kind is e.AsymmetricStaticGenerator:
            return np.asarray(1j * MACHINE_X_PU * kv**2 / rating)
        x_pu = some["xdss_pu"]
        self._assume("xdss_pu", some, np.isnan(x_pu))
        x_pu = np.where(np.isnan(x_pu), MACHINE_X_PU, x_pu)
        if kind is e.Generator:
            return (
                np.nan_to_num(some["rdss_ohm"]) + 1j * x_pu * some.given("vn_kv", kv) ** 2 / rating
            )
        return np.asarray(1j * x_pu * kv**2 / rating)

    def _rating_mva(self, some: Some) -> Array:
        if some.rows.kind is e.PVSystem:
            return np.maximum(some.given("kva", some["pmpp_kw"]) / 1e3, LEAST_MVA)
        sn = some["sn_mva"]
        self._assume("sn_mva", some, np.isnan(sn))
        mva = np.abs(self._flows.mva[some.rows.kind][some.index, 0].sum(axis=1))
        return np.where(np.isnan(sn), np.maximum(RATING * mva, LEAST_MVA), sn)

    def _add_behind(self, some: Some, z: Array) -> None:
        """Impedances of voltage sources, but for the grids': those are sources of the engine."""
        if some.rows.kind is e.ExternalGrid:
            return
        names = self._circuit.names(self._circuit.at(some))
        letter = some.rows.kind.table if some.rows.kind is not e.PVSystem else "pv"
        for row, bus, ohm in zip(some.index.tolist(), names, z.tolist(), strict=True):
            self._new(f"reactor.h{letter}{row}", bus, f"r={ohm.real!r} x={ohm.imag!r}")

    def _add_loads(self, some: Some) -> None:
        """The admittances of loads: R and L, partly in series; a capacitive part is a capacitor."""
        if self._neglect_load_y:
            return
        kind, node = some.rows.kind, self._circuit.at(some)
        kv = self._circuit.vn_kv[node]
        mva = _CONSTANT[kind](some.rows)[some.index]
        # What delivers is no conductance.
        p, q = np.maximum(mva.real, 0), mva.imag
        series = np.full(len(some), SERIES_RL_PERCENT / 100)
        x_pu, xr = np.full((2, len(some)), np.nan)
        if kind is e.Load:
            series = some.given("series_rl_percent", SERIES_RL_PERCENT) / 100
            x_pu, xr = some["x_harmonic_pu"], some.given("xr_harmonic", XR)
        series = np.where(q < 0, 0, series)
        names = self._circuit.names(node)
        columns = (some.index, names, p, q, kv, series, x_pu, xr)
        for row, bus, p1, q1, kv1, part, x1, xr1 in zip(
            *(c.tolist() if isinstance(c, np.ndarray) else c for c in columns), strict=True
        ):
            name = f"h{kind.table}{row}"
            if part and (p1 or q1):
                z = kv1**2 / part / complex(p1, -q1)
                if x1 == x1:
                    x = kv1**2 / part * x1 / abs(complex(p1, q1))
                    z = complex(x / xr1, x)
                self._new(f"reactor.{name}s", bus, f"r={z.real!r} x={z.imag!r}")
            if part < 1 and p1:
                self._new(f"reactor.{name}r", bus, f"r={kv1**2 / (1 - part) / p1!r} x=0")
            if part < 1 and q1 > 0:
                self._new(f"reactor.{name}x", bus, f"r=0 x={kv1**2 / (1 - part) / q1!r}")
            if q1 < 0:
                self._new(f"capacitor.{name}c", bus, f"kv={kv1!r} kvar={-1e3 * q1!r}")

    def _new(self, name: str, bus: str, properties: str) -> None:
        self._passive.append(f"new {name} phases=3 bus1={bus}.1.2.3 {properties}")

    # -- commands ----------------------------------------------------------------------------------

    def _without_constant_power(self) -> list[str]:
        sources = self._sources
        limited = [sources.names[k] for k in np.flatnonzero(sources.limited)]
        names = [
            name
            for part in self._circuit.parts
            for name in part.names
            if name.partition(".")[0] in _NOT_LINEAR
        ]
        return [
            f"edit {name} enabled=no"
            for name in [*names, *(f"generator.{name}" for name in limited)]
        ]

    def _without_earth_return(self) -> list[str]:
        """Line impedances as given: OpenDSS adds Carson's correction for a return path of its own.

        It is made for data per unit of length at 60 Hz, and of ours it knows the whole line only.
        """
        return [
            f"edit {name} rg=0 xg=0"
            for part in self._circuit.parts
            for name in part.names
            if name.startswith("line.")
        ]

    def _sources_as_impedances(self) -> list[str]:
        """The stiff sources without voltage: behind the grids' impedances, or out of the way.

        Those inside extended wards stay what they are, short circuits behind an impedance.
        """
        sources, circuit = self._sources, self._circuit
        grids: dict[int, tuple[complex, complex]] = {}
        stays: set[int] = set()
        for claim, places in zip(sources.claims, sources.at, strict=True):
            if claim.kind is e.ExtendedWard:
                stays |= set(places.tolist())
            if claim.kind is e.ExternalGrid:
                rows = circuit.network.rows(claim.kind)
                z1, z0 = grid_impedance(rows, claim.row, circuit.vn_kv[claim.node])
                for place, one, zero in zip(places.tolist(), z1.tolist(), z0.tolist(), strict=True):
                    grids[place] = _beside(grids.get(place), (one, zero))
        commands = [f"edit vsource.{name} pu=0" for name in sources.grid_names]
        for k, name in enumerate(sources.names):
            if k in grids:
                z1, z0 = grids[k]
                commands.append(
                    f"edit vsource.{name} enabled=yes pu=0 r1={z1.real!r} x1={z1.imag!r} "
                    f"r0={z0.real!r} x0={z0.imag!r}"
                )
            else:
                commands.append(f"edit vsource.{name} {'pu=0' if k in stays else 'enabled=no'}")
        return commands

    # -- what was assumed --------------------------------------------------------------------------

    def _assume(self, field: str, some: Some, lacks: Array) -> None:
        labels = [some.rows.label(int(row)) for row in some.index[lacks]]
        self._assumed.setdefault(field, []).extend(labels)

    def _assumptions(self) -> Iterator[str]:
        """A sentence per figure that elements did not give and OpenDSS' own stood in for."""
        told = {
            "xdss_pu": f"a reactance of {MACHINE_X_PU:g} pu",
            "sn_mva": f"a rating of {RATING:g} times the power",
        }
        for field, labels in self._assumed.items():
            if labels:
                yield (
                    f"Without {field}, to harmonics: {', '.join(labels)}. OpenDSS' own was taken, "
                    f"{told[field]}."
                )


def _beside(
    one: tuple[complex, complex] | None, other: tuple[complex, complex]
) -> tuple[complex, complex]:
    """Impedances in parallel, sequence by sequence."""
    if one is None:
        return other
    return (
        one[0] * other[0] / (one[0] + other[0]),
        one[1] * other[1] / (one[1] + other[1]),
    )


def _scaled(rows: Rows) -> Array:
    power = rows.column("p_mw") + 1j * rows.column("q_mvar")
    return np.asarray(power * rows.column("scaling"))


def _motor(rows: Rows) -> Array:
    share = rows.column("loading_percent") / rows.column("efficiency_percent")
    p = rows.column("pn_mech_mw") * share * rows.column("scaling")
    return np.asarray(p * (1 + 1j * np.tan(np.arccos(rows.column("cos_phi")))))


def _ward(rows: Rows) -> Array:
    return np.asarray(rows.column("ps_mw") + 1j * rows.column("qs_mvar"))


#: Kinds that are loads to harmonics: their power at 1 pu, admittances of their own apart [MVA].
_CONSTANT: Mapping[type[Element], Callable[[Rows], Array]] = MappingProxyType(
    {
        e.Load: _scaled,
        e.AsymmetricLoad: lambda rows: by_phase(rows).sum(axis=0),
        e.Motor: _motor,
        e.Ward: _ward,
        e.ExtendedWard: _ward,
    }
)
