"""Short circuits by IEC 60909-0 on pandapower's per-unit arrays.

pandapower makes the branches: corrected by K_T, at their final temperature, three-winding
transformers as stars, switches opened, and the zero sequence of every vector group. The sources are
`electrisim.sources`', each with its own factor, and the currents are solved here. pandapower's
`calc_sc` gives the same numbers where it is right, which the tests hold it to; it does not where
sources share a bus (the last one's admittance or factor stands for all), where a source has no
resistance, in the aperiodic part under a fault reactance or at 60 Hz, in the branches of
unbalanced faults; and it has no breaking current.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from pandapower.pypower.idx_brch import BR_R, BR_X

from electrisim import elements as e
from electrisim import iec60909 as iec
from electrisim.network import Array, Network
from electrisim.sources import Case, Source, Unit, sources
from electrisim.studies.shortcircuit import Faulted, ShortCircuit
from electrisim.topology import Topology
from pandapower_shortcircuit_arrays import (
    Faults,
    MakeNet,
    System,
    arrays,
    blocks,
    earthed,
    fed_twice,
)
from pandapower_shortcircuit_tables import Telling

#: How many faults are solved at once.
CHUNK = 128
#: f_c/f of method C: 20 Hz of 50, 24 Hz of 60.
SLOWER = 0.4


def solve(
    network: Network, topology: Topology, settings: ShortCircuit, buses: Array, make_net: MakeNet
) -> Faulted:
    """The currents of a fault at each of these buses."""
    study = _Study(network, topology, settings, make_net)
    telling = Telling(
        network, topology, settings, study.arrays, study.zero, study.sources,
        study.units, study.nodes, buses,
    )  # fmt: skip
    for faults in study.faults(np.unique(study.arrays.of_bus[buses])):
        telling.add(faults)
    return telling.told()


class _Study:
    """One request: its arrays, its sources, its faults."""

    def __init__(
        self, network: Network, topology: Topology, settings: ShortCircuit, make_net: MakeNet
    ) -> None:
        self.network, self.topology, self.settings = network, topology, settings
        self.case = Case(settings.case, settings.lv_tol_percent)
        self.sources, self.units = sources(network, topology, self.case)
        net = make_net(network.frequency_hz, blocks(network, topology, settings))
        self.arrays, self.zero = arrays(net, settings, self._unit_factors())
        self.nodes = [self.arrays.of_bus[source.bus] for source in self.sources]
        self.y_ward = self._wards()
        self.i_cv = np.zeros(len(self.arrays.bus))
        for source, node in zip(self.sources, self.nodes, strict=True):
            np.add.at(self.i_cv, node, source.current_ka / self.arrays.ka[node])

    def _unit_factors(self) -> Array:
        factors = np.full(len(self.network.rows(e.Transformer)), np.nan)
        for unit in self.units:
            factors[unit.transformer] = unit.k_s
        return factors

    def _wards(self) -> Array:
        """Wards count by their admittance part, as in pandapower: pz_mw + j qz_mvar."""
        y = np.zeros(len(self.arrays.bus), dtype=complex)
        for kind in (e.Ward, e.ExtendedWard):
            rows = self.network.rows(kind)
            if len(rows):
                alive = self.topology.alive(kind)
                own = (rows.column("pz_mw") + 1j * rows.column("qz_mvar"))[alive]
                np.add.at(y, self.arrays.of_bus[rows.at["bus"][alive]], own / self.arrays.base_mva)
        return y

    # -- the systems -------------------------------------------------------------------------------

    def _system(self, inside: int | None, aperiodic: bool) -> tuple[System, list[Array]]:
        """The positive sequence, and the admittances of its sources.

        inside     node between the generator and the transformer of a unit where the fault is
        aperiodic  at the lower frequency of method C, with resistances for the aperiodic current
        """
        slower = SLOWER if aperiodic else 1.0
        branch = self.arrays.branch.copy()
        of_trafo = self.arrays.branches_of("trafo")[0] if self.units else np.zeros(0, dtype=int)
        for unit in self.units:
            here = self._node_of(unit) == inside
            branch[of_trafo[unit.transformer], [BR_R, BR_X]] *= 1 if here else unit.k_s
        branch[:, BR_X] *= slower
        y_sources = [
            self._admittance(source, node, inside, slower, aperiodic)
            for source, node in zip(self.sources, self.nodes, strict=True)
        ]
        y = self._at_frequency(self.y_ward, slower)
        for own, node in zip(y_sources, self.nodes, strict=True):
            np.add.at(y, node, own)
        return System(self.arrays, branch, y, bool(self.settings.inverse_y)), y_sources

    def _admittance(
        self, source: Source, node: Array, inside: int | None, slower: float, aperiodic: bool
    ) -> Array:
        z_ohm = source.z_peak_ohm if aperiodic else source.z_ohm
        if inside is not None:
            ours = (node == inside) & ~np.isnan(source.inside_ohm)
            ratio = source.inside_ohm / source.z_ohm
            z_ohm = np.where(ours, z_ohm * np.where(ours, ratio, 1), z_ohm)
        ends = np.isfinite(z_ohm)
        slow = np.where(ends, z_ohm.real + 1j * slower * z_ohm.imag, 1)
        return np.where(ends, self.arrays.pu(node, slow), 0)

    @staticmethod
    def _at_frequency(y: Array, slower: float) -> Array:
        found = np.zeros_like(y)
        has = y != 0
        z = 1 / y[has]
        found[has] = 1 / (z.real + 1j * slower * z.imag)
        return found

    def _node_of(self, unit: Unit) -> int:
        generators = next(s for s in self.sources if s.kind is e.Generator)
        return int(self.arrays.of_bus[generators.bus[unit.generator]])

    @functools.cached_property
    def _zero_system(self) -> tuple[System, Array]:
        """The zero sequence, and which of its nodes have a way to earth."""
        assert self.zero is not None
        y = np.zeros(len(self.zero.bus), dtype=complex)
        for source, node in zip(self.sources, self.nodes, strict=True):
            ends = np.isfinite(source.z0_ohm)
            np.add.at(y, node[ends], self.zero.pu(node[ends], source.z0_ohm[ends]))
        return earthed(self.zero, y)

    # -- the faults --------------------------------------------------------------------------------

    def faults(self, nodes: Array) -> Iterator[Faults]:
        """The faults at these nodes, some at a time."""
        of_units = {self._node_of(unit) for unit in self.units}
        outside = np.array([node for node in nodes if node not in of_units], dtype=np.int64)
        if len(outside):
            system, y_sources = self._system(None, aperiodic=False)
            slow = self._aperiodic(None)
            for start in range(0, len(outside), CHUNK):
                yield self._solved(outside[start : start + CHUNK], system, y_sources, slow)
        for node in sorted(of_units.intersection(nodes.tolist())):
            system, y_sources = self._system(node, aperiodic=False)
            yield self._solved(np.array([node]), system, y_sources, self._aperiodic(node), node)

    def _aperiodic(self, inside: int | None) -> System | None:
        """The system of method C, where it is asked for."""
        if self.settings.kappa_method == "B" or self.settings.topology == "radial":
            return None
        return self._system(inside, aperiodic=True)[0]

    def _solved(
        self, at: Array, system: System, y_sources: list[Array], slow: System | None,
        inside: int | None = None,
    ) -> Faults:  # fmt: skip
        columns = system.columns(at)
        here = np.arange(len(at))
        z_fault = self._fault_pu(at, 1.0)
        z = columns[at, here] + z_fault
        c = self.case.factor(self.arrays.base_kv[at])
        scale = np.ones(len(at))
        if inside is not None:
            scale[:] = self._rated_over_nominal(inside)
        single = self.settings.fault == "1ph"
        z0, v_zero_of = self._zero_at(at) if single else (np.full(len(at), np.nan), None)
        divisor = {"3ph": z, "2ph": 2 * z, "1ph": 2 * z + z0 + z_fault}[self.settings.fault]
        i = np.where(np.isinf(divisor), 0, scale * c / np.where(np.isinf(divisor), 1, divisor))
        injected, v_own, i_cv = self._converters(system, at, z)
        return Faults(
            at=at, c=c, scale=scale, z=z, z0=z0 + z_fault, i=i, i_cv=i_cv,
            i_zero=i if single else 0 * i,
            v=-columns * i,
            v_cv=v_own[:, None] - columns * i_cv,
            v_zero=np.zeros_like(columns) if v_zero_of is None else -v_zero_of * i,
            kappa=self._kappa(at, z, slow),
            y_sources=y_sources, system=system, injected=injected,
            zero_system=self._zero_system[0] if single else None,
        )  # fmt: skip

    def _fault_pu(self, at: Array, slower: float) -> Array:
        own = complex(self.settings.r_fault_ohm, slower * self.settings.x_fault_ohm)
        return np.asarray(own * self.arrays.base_mva / self.arrays.base_kv[at] ** 2)

    def _rated_over_nominal(self, node: int) -> float:
        """A fault inside a unit is driven by the generator's rated voltage."""
        generators = self.network.rows(e.Generator)
        of_kind = next(s for s in self.sources if s.kind is e.Generator)
        unit = next(unit for unit in self.units if self._node_of(unit) == node)
        row = int(of_kind.row[unit.generator])
        return float(generators.column("vn_kv")[row] / self.arrays.base_kv[node])

    def _zero_at(self, at: Array) -> tuple[Array, Array]:
        """The zero-sequence impedance at nodes, infinite without a way to earth, and columns."""
        system, earthed = self._zero_system
        columns = system.columns(at)
        z0 = columns[at, np.arange(len(at))]
        return np.where(earthed[at], z0, np.inf), np.where(earthed[at], columns, 0)

    def _converters(self, system: System, at: Array, z: Array) -> tuple[Array, Array, Array]:
        """What converters inject, the voltages that makes, and what it adds at faults.

        Their currents have the angle that a fault at their own bus would have; in unbalanced faults
        they lag by 90°.
        """
        feeding, injected = np.flatnonzero(self.i_cv), self.i_cv.astype(complex)
        if not len(feeding):
            return injected, injected, np.zeros(len(at), dtype=complex)
        columns = system.columns(feeding)
        own = columns[feeding, np.arange(len(feeding))]
        angle = -np.angle(own) if self.settings.fault == "3ph" else np.full(len(own), -np.pi / 2)
        injected[feeding] *= np.exp(1j * angle)
        v = columns @ injected[feeding]
        return injected, v, v[at] / z

    def _kappa(self, at: Array, z: Array, slow: System | None) -> Array:
        if slow is not None:
            slower = SLOWER
            z_slow = slow.columns(at)[at, np.arange(len(at))] + self._fault_pu(at, slower)
            return np.asarray(iec.kappa(z_slow.real / z_slow.imag * slower))
        plain = np.asarray(iec.kappa(z.real / z.imag))
        if self.settings.topology == "radial":
            return plain
        limit = np.where(self.arrays.base_kv[at] < iec.LOW_VOLTAGE_KV, 1.8, 2.0)
        meshed = self.settings.topology == "meshed" or self._meshed[at]
        needed = meshed & ((self.settings.topology == "meshed") | (z.real / z.imag >= 0.3))
        return np.clip(np.where(needed, 1.15, 1.0) * plain, 1, limit)

    @functools.cached_property
    def _meshed(self) -> Array:
        """Which nodes are fed over more than one path: not all edges to earth are bridges."""
        return fed_twice(self.arrays, np.unique(np.concatenate(self.nodes)))
