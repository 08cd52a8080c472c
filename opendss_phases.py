"""Elements of one phase, of two, or told conductor by conductor, in OpenDSS' words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.conductors import Conductors, of_lines, of_switches
from electrisim.network import Array
from electrisim.phasing import ALL, across, numbers, partial, words
from electrisim.transformers import TwoPorts, Winding, halves
from opendss_circuit import Circuit, Some

#: An ideal switch of fewer than three poles, whose nodes cannot be made one [Ω per kV²]: between
#: what moves a voltage (10 MVA drop 1e-7 pu) and what drowns in rounding.
POLE = 1e-8
#: What keeps a winding that nothing earths from floating [ppm of its rating].
ANTIFLOAT_PPM = 0.1


class Wiring(NamedTuple):
    """How elements are connected to a bus.

    properties  with places for the bus and the rated kilovolts
    across      their rated voltage, of vn_kv
    phases      as in `Part`
    """

    properties: str
    across: float
    phases: str


WYE = Wiring("phases=3 conn=wye bus1={}.1.2.3.0 kv={!r}", 1.0, "1.2.3")
DELTA = Wiring("phases=3 conn=delta bus1={}.1.2.3 kv={!r}", 1.0, "1.2.3")


def wirings(circuit: Circuit, some: Some) -> Iterator[tuple[Array, Wiring]]:
    """Elements by how they are connected; a balanced study knows one way."""
    every = np.arange(len(some))
    if not circuit.unbalanced:
        yield every, WYE
        return
    delta = np.zeros(len(some), dtype=bool)
    if some.rows.kind is e.Load:
        delta = np.array([type_ == "delta" for type_ in some.values("type")], dtype=bool)
    of_each = np.array(words(some.rows), dtype=object)[some.index]
    for word in sorted(set(of_each)):
        here = of_each == word
        for chosen, wiring in (
            [(here & ~delta, WYE), (here & delta, DELTA)] if word == ALL else [(here, wired(word))]
        ):
            if chosen.any():
                yield every[chosen], wiring


def wired(word: str) -> Wiring:
    """From one phase to earth, or between two."""
    nodes = ".".join(str(phase + 1) for phase in numbers(word))
    if len(word) == 1:
        return Wiring(f"phases=1 conn=wye bus1={{}}.{nodes}.0 kv={{!r}}", 1 / np.sqrt(3), nodes)
    return Wiring(f"phases=1 conn=delta bus1={{}}.{nodes} kv={{!r}}", 1.0, nodes)


# -- lines and switches ----------------------------------------------------------------------------


def lines(circuit: Circuit, some: Some, ends: Array) -> None:
    """Lines by their matrices, those with the same conductors together."""
    whole = of_lines(circuit.network, some.rows, circuit.settings)
    found = Conductors(*(part[some.index] for part in whole))
    to_nf = 1e9 / (np.pi * circuit.network.frequency_hz)
    for has in np.unique(found.has, axis=0):
        here = np.flatnonzero((found.has == has).all(axis=1))
        used = np.flatnonzero(has)
        nodes = ".".join(str(phase + 1) for phase in used)
        block = np.ix_(here, used, used)
        z, y = found.z[block], found.y[block]
        circuit.new(
            "line", "l", e.Line, some.index[here], (0, 1),
            f"phases={len(used)} bus1={{}}.{nodes} bus2={{}}.{nodes} "
            "rmatrix={} xmatrix={} cmatrix={} length=1 units=none",
            circuit.names(ends[here, 0]), circuit.names(ends[here, 1]),
            *(_triangles(part) for part in (z.real, z.imag, y.imag * to_nf)),
            phases=(nodes, nodes),
        )  # fmt: skip
        for port, mark in enumerate("ft"):
            circuit.to_earth(
                e.Line, f"l{{}}{mark}", some.index[here], port, ends[here, port],
                y[:, 0, 0].real, nodes,
            )  # fmt: skip


def _triangles(matrices: Array) -> list[str]:
    """[11 | 21 22 | …] of each matrix."""
    return [
        "[" + " | ".join(" ".join(map(repr, row[: k + 1])) for k, row in enumerate(matrix)) + "]"
        for matrix in matrices.tolist()
    ]


def poles(circuit: Circuit, some: Some, ends: Array) -> None:
    """Switches of one or two poles; those without impedance get almost none."""
    z = of_switches(some.rows).z[some.index].sum(axis=(1, 2))
    word_of = np.array(words(some.rows), dtype=object)[some.index]
    for word in sorted(set(word_of)):
        here = np.flatnonzero(word_of == word)
        nodes = ".".join(str(phase + 1) for phase in numbers(word))
        ideal = POLE * circuit.vn_kv[ends[here, 0]] ** 2
        each = np.where(z[here] == 0, ideal, z[here] / len(word))
        circuit.new(
            "reactor", "k", e.Switch, some.index[here], (0, 1),
            f"phases={len(word)} bus1={{}}.{nodes} bus2={{}}.{nodes} r={{!r}} x={{!r}}",
            circuit.names(ends[here, 0]), circuit.names(ends[here, 1]), each.real, each.imag,
            phases=(nodes, nodes),
        )  # fmt: skip


def of_few_phases(some: Some) -> Array:
    """Which of some elements have fewer than three phases."""
    return np.asarray(partial(some.rows)[some.index])


# -- transformers ----------------------------------------------------------------------------------


def transformers(
    circuit: Circuit, some: Some, ends: Array, ports: TwoPorts, winding: Winding
) -> None:
    """Single-phase units, those between the same phases together.

    ports, winding  of some.rows
    """
    words_of = [np.array(words(some.rows, port), dtype=object)[some.index] for port in (0, 1)]
    tapped = np.array(some.values("centre_tapped"))
    for high, low, centre in sorted(set(zip(*words_of, tapped.tolist(), strict=True))):
        here = np.flatnonzero((words_of[0] == high) & (words_of[1] == low) & (tapped == centre))
        make = _centre_tapped if centre else _two_windings
        these = some.some(here)
        index = these.index
        make(
            circuit, these, ends[here], (high, low), TwoPorts(*(v[index] for v in ports)),
            Winding(*(v[index] for v in winding)),
        )  # fmt: skip


def _plate(some: Some, winding: Winding) -> tuple[Array, Array, Array]:
    """Rating [kVA] and taps of both windings; one the other way round has a negative one."""
    turned = np.where(np.abs(winding.shift) % 360 > 90, -1.0, 1.0)
    high, low = winding.hv_kv / some["vn_hv_kv"], winding.lv_kv / some["vn_lv_kv"]
    return 1e3 * some["sn_mva"] * some["parallel"], high, turned * low


def _two_windings(
    circuit: Circuit,
    some: Some,
    ends: Array,
    lies: tuple[str, str],
    ports: TwoPorts,
    winding: Winding,
) -> None:
    kv = circuit.vn_kv[ends] * np.array([across(word) for word in lies])
    kva, high, low = _plate(some, winding)
    z = 100 * kva / 1e3 / ports.series * (kv[:, 1] / winding.lv_kv) ** 2
    buses = [".".join(two_nodes(word)) for word in lies]
    circuit.new(
        "transformer", "t", e.Transformer, some.index, (0, 1),
        f"phases=1 windings=2 buses=({{}}.{buses[0]},{{}}.{buses[1]}) conns=(wye,wye) "
        "kvs=({!r},{!r}) kvas=({!r},{!r}) taps=({!r},{!r}) %rs=({!r},{!r}) xhl={!r} "
        f"ppm_antifloat={ANTIFLOAT_PPM!r}",
        circuit.names(ends[:, 0]), circuit.names(ends[:, 1]), some["vn_hv_kv"], some["vn_lv_kv"],
        kva, kva, high, low, z.real / 2, z.real / 2, z.imag, phases=(buses[0], buses[1]),
    )  # fmt: skip
    rated = [1e3 * some["vn_hv_kv"], 1e3 * some["vn_lv_kv"]]
    circuit.wind(circuit.parts[-1].names, (high, low), rated)
    at_high = ports.earth_from / np.abs(ports.ratio) ** 2
    for port, y in enumerate((at_high, ports.earth_to)):
        _magnetising(circuit, some.index, port, ends[:, port], lies[port], y / kv[:, port] ** 2)


def _centre_tapped(
    circuit: Circuit,
    some: Some,
    ends: Array,
    lies: tuple[str, str],
    ports: TwoPorts,
    winding: Winding,
) -> None:
    """Three windings: the lower half of the low-voltage one from earth to the second leg."""
    kva, high, low = _plate(some, winding)
    of_each = halves(some.rows)
    z, z_half, y = (part[some.index] * 100 for part in of_each)
    first, second = (str(phase + 1) for phase in numbers(lies[1]))
    bus, half_kv = ".".join(two_nodes(lies[0])), some["vn_lv_kv"] / 2
    names = circuit.names(ends[:, 1])
    phases = (bus, f"{first}.0", f"0.{second}")
    circuit.new(
        "transformer", "t", e.Transformer, some.index, (0, 1, 1),
        f"phases=1 windings=3 buses=({{}}.{phases[0]},{{}}.{phases[1]},{{}}.{phases[2]}) "
        "conns=(wye,wye,wye) kvs=({!r},{!r},{!r}) kvas=({!r},{!r},{!r}) taps=({!r},{!r},{!r}) "
        "%rs=({!r},{!r},{!r}) xhl={!r} xht={!r} xlt={!r} "
        f"ppm_antifloat={ANTIFLOAT_PPM!r}",
        circuit.names(ends[:, 0]), names, names, some["vn_hv_kv"], half_kv, half_kv,
        kva, kva, kva, high, low, low, z.real, z_half.real, z_half.real,
        z.imag + z_half.imag, z.imag + z_half.imag, 2 * z_half.imag, phases=phases,
    )  # fmt: skip
    siemens = y / 100 * kva / 1e3 / winding.hv_kv**2
    _magnetising(circuit, some.index, 0, ends[:, 0], lies[0], siemens)


def two_nodes(word: str) -> tuple[str, str]:
    """The nodes of what lies so: “1” and “0” to earth, “1” and “2” between phases."""
    one, other = [*(str(phase + 1) for phase in numbers(word)), "0"][:2]
    return one, other


def _magnetising(
    circuit: Circuit, rows: Array, port: int, node: Array, word: str, y: Array
) -> None:
    """Admittances [S] across windings; none where they are nothing."""
    between(circuit, e.Transformer, "t{}" + "ft"[port], rows, port, node, word, y)


def between(
    circuit: Circuit,
    kind: type[e.Element],
    letter: str,
    rows: Array,
    port: int,
    node: Array,
    word: str,
    y: Array,
) -> None:
    """Admittances [S] from a phase to earth, or between two phases; none where they are nothing."""
    z = 1 / y
    some = np.flatnonzero(~np.isinf(z))
    if not len(some):
        return
    nodes = two_nodes(word)
    names = circuit.names(node[some])
    circuit.new(
        "reactor", letter, kind, rows[some], (port, port if len(word) == 2 else None),
        f"phases=1 bus1={{}}.{nodes[0]} bus2={{}}.{nodes[1]} r={{!r}} x={{!r}}",
        names, names, z[some].real, z[some].imag, phases=nodes,
    )  # fmt: skip
