"""A network in OpenDSS' words: the commands that make it, and whose powers they answer for.

Elements become OpenDSS' own with the true model, in bulk: one template per kind, filled from its
columns. Every name is ours: buses “b3” by the row of their first bus, elements by a letter and
their row. Only what is supplied is made.

Where OpenDSS has no element for an equivalent (a phase shift that no winding connection gives, an
impedance that differs by direction), reactors between turned phases represent the two-port exactly
in the positive sequence, which is all that a balanced study asks for.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.network import Array, Network, Rows, fault
from electrisim.problems import ProblemError
from electrisim.settings import Settings
from electrisim.topology import Topology
from electrisim.transformers import TwoPorts

#: e^{j120°}
A = np.exp(2j * np.pi / 3)


class Part(NamedTuple):
    """Elements of one OpenDSS class that stand for rows of a kind.

    kind, rows  whose they are; kind None: they only help, and nobody asks for their power
    names       of the elements, as in “line.l0”
    commands    that make them, one each
    ports       per terminal of the elements, the port of the kind that it answers for, or None
    phases      per terminal, the phases of its conductors as in “2.3.1”; 0 and more are neutral
    branch      of one-phase elements: which phase's (in a delta, which branch's) power they are
    """

    kind: type[Element] | None
    rows: Array
    names: list[str]
    commands: list[str]
    ports: tuple[int | None, ...]
    phases: tuple[str, ...]
    branch: int | None = None


class Windings(NamedTuple):
    """The two windings of a transformer: its taps, of their rated voltages, and these [V]."""

    taps: tuple[float, float]
    volts: tuple[float, float]


class Some:
    """The supplied elements of a kind.

    rows   all elements of the kind
    index  which of them are supplied
    """

    def __init__(self, rows: Rows, index: Array) -> None:
        self.rows = rows
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, field: str) -> Array:
        return np.asarray(self.rows.column(field)[self.index])

    def some(self, chosen: Array) -> Some:
        """Some of these."""
        return Some(self.rows, self.index[chosen])

    def values(self, field: str) -> list[Any]:
        values = self.rows.values(field)
        return [values[row] for row in self.index]

    def given(self, field: str, otherwise: Array | float) -> Array:
        """A column, with another value where it is absent."""
        column = self[field]
        return np.where(np.isnan(column), otherwise, column)


class Circuit:
    """The translation of one network.

    node    AC bus → node, shape (n_bus,): the row of the first bus of those that are joined
    nodes   the names of the nodes: of buses first, then those of our own (open ends, star points)
    vn_kv   their nominal voltages
    parts   the elements
    ports   kind → node of each port of each element, shape (n, ports); -1 without supply
    inner   kind → node inside each element: a star point, an internal source; -1 where none
    earth   (nodes, admittances [S]) of what draws power with the voltage squared
    windings  of transformers, by the elements' names
    constant  (nodes, powers [MVA]) of what draws the same power at any voltage
    """

    def __init__(self, network: Network, topology: Topology, settings: Settings) -> None:
        self.network = network
        self.topology = topology
        self.settings = settings
        self.unbalanced = settings.model == "unbalanced"
        buses = network.rows(e.Bus)
        _, first, inverse = np.unique(topology.node, return_index=True, return_inverse=True)
        self.node = first[inverse]
        self.nodes = [f"b{row}" for row in range(len(buses))]
        self._own_kv: list[Array] = [buses.column("vn_kv")]
        self.parts: list[Part] = []
        self.ports: dict[type[Element], Array] = {}
        self.inner: dict[type[Element], Array] = {}
        self.earth: list[tuple[Array, Array]] = []
        self.constant: list[tuple[Array, Array]] = []
        self._anchored: set[int] = set()
        self._star_points: dict[int, int] = {}
        self.windings: dict[str, Windings] = {}

    def of(self, network: Network) -> Circuit:
        """This circuit for a network in which only powers differ."""
        other = copy.copy(self)
        other.network = network
        other.ports, other.earth, other.constant = dict(self.ports), [], []
        return other

    @property
    def vn_kv(self) -> Array:
        return np.concatenate(self._own_kv)

    def some(self, kind: type[Element]) -> Some:
        """The supplied elements of a kind."""
        rows = self.network.rows(kind)
        alive = self.topology.alive(kind) if len(rows) else np.zeros(0, dtype=bool)
        return Some(rows, np.flatnonzero(alive))

    def at(self, some: Some, field: str = "bus") -> Array:
        """The nodes at a terminal that cannot be detached."""
        return np.asarray(self.node[some.rows.at[field][some.index]])

    def ends(self, some: Some, letter: str) -> Array:
        """The nodes at the ports of branches, shape (n, ports); a detached end gets its own."""
        ports = []
        for number, port in enumerate(some.rows.kind.ports):
            bus = some.rows.at[port.bus][some.index]
            node = self.node[bus]
            detached = np.flatnonzero(~self.topology.attached(some.rows, port.bus)[some.index])
            if len(detached):
                names = [f"{letter}{some.index[k]}o{number}" for k in detached]
                node = node.copy()
                node[detached] = self.own_nodes(names, self._own_kv[0][bus[detached]])
            ports.append(node)
        return np.stack(ports, axis=1)

    def own_nodes(self, names: Sequence[str], vn_kv: Array) -> Array:
        """New nodes that no bus of the network stands for."""
        start = len(self.nodes)
        self.nodes.extend(names)
        self._own_kv.append(vn_kv)
        return np.arange(start, len(self.nodes))

    def connect(self, some: Some, ports: Array, inner: Array | None = None) -> None:
        """Remember at which nodes the elements of a kind are, shape (n, ports)."""
        for kept, nodes in ((self.ports, ports), (self.inner, inner)):
            if nodes is not None:
                table = np.full((len(some.rows), *nodes.shape[1:]), -1)
                table[some.index] = nodes
                kept[some.rows.kind] = table

    def new(
        self,
        class_: str,
        letter: str,
        kind: type[Element] | None,
        rows: Array,
        ports: tuple[int | None, ...],
        properties: str,
        *columns: Array | Sequence[str] | Sequence[int],
        phases: tuple[str, ...] = ("1.2.3", "1.2.3"),
        branch: int | None = None,
    ) -> None:
        """Make elements of one class from a template and its columns.

        letter      how their names begin; “x{}o” puts the row in its place
        properties  with a “{}” for each column
        phases, branch  as in `Part`
        """
        self._refuse_infinite(kind, rows, columns)
        names = [marked(letter).format(row) for row in rows.tolist()]
        template = f"new {class_}.{{}} {properties}"
        texts = (c.tolist() if isinstance(c, np.ndarray) else c for c in columns)
        commands = list(map(template.format, names, *texts))
        full = [f"{class_}.{name}" for name in names]
        self.parts.append(Part(kind, rows, full, commands, ports, phases, branch))

    def _refuse_infinite(
        self, kind: type[Element] | None, rows: Array, columns: Sequence[object]
    ) -> None:
        numbers = [c for c in columns if isinstance(c, np.ndarray) and c.dtype == float]
        if not numbers or kind is None:
            return
        finite = np.isfinite(np.stack(numbers)).all(axis=0)
        if not finite.all():
            text = "has parameters from which no finite circuit can be made"
            raise ProblemError(
                [
                    fault(self.network.rows(kind), int(row), None, "out-of-bounds", text)
                    for row in rows[~finite]
                ]
            )

    def wind(self, names: Sequence[str], taps: Sequence[Array], volts: Sequence[Array]) -> None:
        """Remember the taps and the rated volts of both windings of transformers."""
        for name, ratio, base in zip(
            names, np.stack(taps).T.tolist(), np.stack(volts).T.tolist(), strict=True
        ):
            self.windings[name] = Windings(tuple(ratio), tuple(base))

    def names(self, nodes: Array) -> list[str]:
        return [self.nodes[node] for node in nodes.tolist()]

    def voltage_bases(self) -> list[str]:
        """Commands that tell the engine the nominal voltages, of which its tolerance is a share.

        Where it knows none it takes the present voltage, and waits for star points to be still.
        """
        used = np.concatenate(
            [np.unique(self.node[self.topology.bus]), np.arange(len(self.node), len(self.nodes))]
        )
        kvs = self.vn_kv[used].tolist()
        command = "setkvbase bus={} kvll={!r}"
        return list(map(command.format, self.names(used), kvs))

    # -- building blocks ---------------------------------------------------------------------------

    def to_earth(
        self,
        kind: type[Element],
        letter: str,
        rows: Array,
        port: int | None,
        node: Array,
        y: Array,
        phases: str = "1.2.3",
    ) -> None:
        """Admittances from each of these phases of nodes to earth [S]; none where they are none.

        At other frequencies conductance, inductance and capacitance go apart.
        """
        if self.settings.harmonic:
            for mark, part in (("g", y.real + 0j), ("b", 1j * np.minimum(y.imag, 0))):
                self._reactors(kind, letter + mark, rows, port, node, part)
            self._capacitors(kind, letter + "c", rows, port, node, np.maximum(y.imag, 0))
        else:
            self._reactors(kind, letter, rows, port, node, y, phases)

    def _reactors(
        self,
        kind: type[Element],
        letter: str,
        rows: Array,
        port: int | None,
        node: Array,
        y: Array,
        phases: str = "1.2.3",
    ) -> None:
        z = 1 / y
        some = np.flatnonzero(~np.isinf(z))
        if len(some):
            z = z[some]
            self.new(
                "reactor", letter, kind, rows[some], (port, None),
                f"phases={phases.count('.') + 1} bus1={{}}.{phases} r={{!r}} x={{!r}}",
                self.names(node[some]), z.real, z.imag, phases=(phases, phases),
            )  # fmt: skip

    def _capacitors(
        self,
        kind: type[Element],
        letter: str,
        rows: Array,
        port: int | None,
        node: Array,
        b: Array,
    ) -> None:
        some = np.flatnonzero(b)
        if len(some):
            kv = self.vn_kv[node[some]]
            self.new(
                "capacitor", letter, kind, rows[some], (port, None),
                "phases=3 conn=wye bus1={}.1.2.3 kv={!r} kvar={!r}",
                self.names(node[some]), kv, 1e3 * b[some] * kv**2,
            )  # fmt: skip

    def between_phases(
        self,
        kind: type[Element],
        letter: str,
        rows: Array,
        port: int | None,
        node: Array,
        y: Array,
    ) -> None:
        """Admittances [S] that the zero sequence does not see: in delta, of the same power."""
        z = 3 / y
        some = np.flatnonzero(~np.isinf(z))
        if len(some):
            z = z[some]
            # bus1 comes before conn: EPRI's build derives the bus of a second terminal from it, and
            # fails (#7541) where a delta has left only one.
            self.new(
                "reactor", letter, kind, rows[some], (port,),
                "phases=3 bus1={}.1.2.3 conn=delta r={!r} x={!r}",
                self.names(node[some]), z.real, z.imag,
            )  # fmt: skip

    def star_point(self, node: int) -> int:
        """A new number for the star point of a winding at a node, beside its phases."""
        self._star_points[node] = self._star_points.get(node, 3) + 1
        return self._star_points[node]

    def between(
        self,
        kind: type[Element],
        letter: str,
        rows: Array,
        nodes: Array,
        z: Array,
        ports: tuple[int | None, ...] = (0, 1),
        turn: str = "1.2.3",
    ) -> None:
        """Series impedances between nodes [Ω], with the phases turned at the far end."""
        self.new(
            "reactor", letter, kind, rows, ports,
            f"phases=3 bus1={{}}.1.2.3 bus2={{}}.{turn} r={{!r}} x={{!r}}",
            self.names(nodes[:, 0]), self.names(nodes[:, 1]), z.real, z.imag,
        )  # fmt: skip

    def two_port(
        self,
        kind: type[Element],
        letter: str,
        rows: Array,
        nodes: Array,
        two_ports: TwoPorts,
        ports: tuple[int | None, ...] = (0, 1),
    ) -> None:
        """Any two-port (Y_ff, Y_ft, Y_tf, Y_tt) in the positive sequence.

        Reactors y_0, y_1, y_2 between phases turned by 0, 120° and 240° give
        Y_ft = -(y_0 + a²·y_1 + a·y_2) and Y_tf = -(y_0 + a·y_1 + a²·y_2), hence any pair of them;
        what they add at either end beyond Y_ff and Y_tt is taken back by admittances to earth.
        """
        ff, ft, tf, tt = siemens(two_ports, *self.vn_kv[nodes].T)
        total = -(ft + tf) / 2
        straight = np.where(ft == tf, -ft, (total - ft - tf) / 3)
        once = np.where(ft == tf, 0, (total - A * ft - A**2 * tf) / 3)
        twice = np.where(ft == tf, 0, (total - A**2 * ft - A * tf) / 3)
        for mark, turn, series in (
            ("", "1.2.3", straight),
            ("a", "2.3.1", once),
            ("b", "3.1.2", twice),
        ):
            some = np.flatnonzero(series)
            if len(some):
                z = 1 / series[some]
                self.between(kind, marked(letter) + mark, rows[some], nodes[some], z, ports, turn)
        kv = self.vn_kv[nodes]
        at_from = two_ports.earth_from / np.abs(two_ports.ratio) ** 2 / kv[:, 0] ** 2
        at_to = two_ports.earth_to / kv[:, 1] ** 2
        for port, mark, rest, own in ((0, "f", ff - total, at_from), (1, "t", tt - total, at_to)):
            letters = marked(letter) + mark
            if self.settings.harmonic:
                # What the ratio leaves goes with the frequency as the series impedance does.
                left = np.where(two_ports.ratio == 1, 0, rest - own)
                self._reactors(kind, letters + "r", rows, ports[port], nodes[:, port], left)
                rest = own
            self.to_earth(kind, letters, rows, ports[port], nodes[:, port], rest)

    def anchor(self, nodes: Array, sn_mva: Array) -> None:
        """Hold the zero sequence of delta windings' nodes, which else would float.

        A balanced study has no zero sequence, but the engine solves in phases. A capacitance
        matrix of equal entries conducts in the zero sequence and nowhere else, exactly.
        """
        for node, mva in zip(nodes.tolist(), sn_mva.tolist(), strict=True):
            if node in self._anchored:
                continue
            self._anchored.add(node)
            # To harmonics it must not be the earth that the winding lacks.
            share = 1e-6 if self.settings.harmonic else 1e3
            siemens = share * mva / self.vn_kv[node] ** 2
            c = repr(float(1e6 * siemens / (6 * np.pi * self.network.frequency_hz)))
            row = np.array([node])
            self.new(
                "capacitor", "n", None, row, (None, None),
                f"phases=3 bus1={{}}.1.2.3 cmatrix=[{c} | {c} {c} | {c} {c} {c}]", self.names(row),
            )  # fmt: skip


def marked(letter: str) -> str:
    """A pattern of names with a place for the row."""
    return letter if "{}" in letter else letter + "{}"


def picked(ports: TwoPorts, rows: Array) -> TwoPorts:
    """Some of many two-ports."""
    return TwoPorts(*(values[rows] for values in ports))


def siemens(ports: TwoPorts, from_kv: Array, to_kv: Array) -> tuple[Array, Array, Array, Array]:
    """Y_ff, Y_ft, Y_tf, Y_tt between nodes of these nominal voltages [S]."""
    ff, ft, tf, tt = ports.admittances()
    between = from_kv * to_kv
    return ff / from_kv**2, ft / between, tf / between, tt / to_kv**2
