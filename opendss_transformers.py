"""Transformers in OpenDSS' words.

The series impedance, the ratio with its taps and the vector group are an OpenDSS transformer's
own. pandapower's magnetising branch lies in the middle of the leakage; as an exact pi it becomes an
admittance at either terminal, which are reactors beside the transformer.

Multiples of 30° are winding connections: turned phases give 120° steps, a delta winding 30°, a
winding the other way round 180°. What tap changers turn beyond that is no winding connection; there
the whole transformer is a two-port of reactors, exact in the positive sequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.network import Array, Network, Rows, fault
from electrisim.phasing import ALL
from electrisim.problems import Problem
from electrisim.settings import Settings
from electrisim.transformers import Leg, TwoPorts, Winding, legs, windings
from opendss_circuit import Circuit, Some, marked, picked
from opendss_phases import ANTIFLOAT_PPM, of_few_phases
from opendss_phases import transformers as single_phase_units


class Connection(NamedTuple):
    """How windings are connected so that the low-voltage side lags by a clock number.

    is_odd   whether one winding, and only one, is a delta
    leadlag  of the delta
    turn     the phases at the low-voltage terminals
    sign     -1 where the low-voltage winding is connected the other way round
    """

    is_odd: bool
    leadlag: str
    turn: str
    sign: int


#: By clock number. The low-voltage side turns by -30° (lag) or +30° (lead) where a delta meets a
#: star, by 120° for each step of `turn`, by 180° with `sign`.
CONNECTIONS = (
    Connection(False, "lag", "1.2.3", 1),
    Connection(True, "lag", "1.2.3", 1),
    Connection(False, "lag", "2.3.1", -1),
    Connection(True, "lead", "3.1.2", 1),
    Connection(False, "lag", "3.1.2", 1),
    Connection(True, "lag", "3.1.2", 1),
    Connection(False, "lag", "1.2.3", -1),
    Connection(True, "lead", "2.3.1", 1),
    Connection(False, "lag", "2.3.1", 1),
    Connection(True, "lag", "2.3.1", 1),
    Connection(False, "lag", "3.1.2", -1),
    Connection(True, "lead", "1.2.3", 1),
)

#: Shifts nearer than this to a multiple of 30° are one [degree].
SAME_ANGLE = 1e-9


class Units(NamedTuple):
    """Two-winding transformers, one per row: whole ones, or legs of three-winding ones.

    letter   how their names begin
    rows     of the kind
    ends     nodes at the high and the low side, shape (n, 2)
    answers  the port of the kind that each side answers for
    rated_kv of both windings, shape (2, n)
    """

    kind: type[Element]
    letter: str
    answers: tuple[int | None, int | None]
    rows: Array
    ends: Array
    ports: TwoPorts
    winding: Winding
    rated_kv: Array
    sn_mva: Array

    def some(self, chosen: Array) -> Units:
        return self._replace(
            rows=self.rows[chosen],
            ends=self.ends[chosen],
            ports=picked(self.ports, chosen),
            winding=Winding(*(values[chosen] for values in self.winding)),
            rated_kv=self.rated_kv[:, chosen],
            sn_mva=self.sn_mva[chosen],
        )

    def clock(self) -> Array:
        """The clock number of each phase shift, -1 where it is none."""
        turns = self.winding.shift / 30
        nearest = np.round(turns)
        is_clock = np.abs(turns - nearest) * 30 < SAME_ANGLE
        return np.where(is_clock, nearest % 12, -1).astype(int)

    def series_pu(self, kv: Array) -> Array:
        """Series impedance of the pi, of the rating on the tapped low-voltage side.

        kv  nominal voltages of the nodes at the low side
        """
        return np.asarray(self.sn_mva / self.ports.series * (kv / self.winding.lv_kv) ** 2)


def transformers(circuit: Circuit, some: Some) -> None:
    """Two-winding transformers."""
    ends = circuit.ends(some, "t")
    circuit.connect(some, ends)
    ports, winding = windings(circuit.network, some.rows, circuit.settings)
    if circuit.unbalanced:
        few = of_few_phases(some)
        if few.any():
            single_phase_units(circuit, some.some(few), ends[few], ports, winding)
            some, ends = some.some(~few), ends[~few]
    units = Units(
        e.Transformer, "t", (0, 1), some.index, ends,
        picked(ports, some.index),
        Winding(*(values[some.index] for values in winding)),
        np.stack([some["vn_hv_kv"], some["vn_lv_kv"]]),
        some["sn_mva"] * some["parallel"],
    )  # fmt: skip
    groups = some.values("vector_group")
    if circuit.unbalanced:
        _in_phases(circuit, units, some, groups)
    else:
        _balanced(circuit, units, np.array([bool(group) and "D" not in group for group in groups]))


def three_winding_transformers(circuit: Circuit, some: Some) -> None:
    """A star of three two-winding transformers around a node of our own, as pandapower's."""
    ends = circuit.ends(some, "u")
    index = some.index
    high = circuit.network.rows(e.Bus).column("vn_kv")[some.rows.at["hv_bus"][index]]
    star = circuit.own_nodes([f"u{row}s" for row in index.tolist()], high)
    circuit.connect(some, ends, star)
    sides = ("hv", "mv", "lv")
    for port, leg in enumerate(legs(circuit.network, circuit.settings)):
        side = sides[port]
        units = Units(
            e.ThreeWindingTransformer, f"u{{}}{side[0]}",
            (None, port) if leg.star_is_from else (port, None),
            index, leg_nodes(leg, ends[:, port], star),
            picked(leg.ports, index),
            Winding(*(values[index] for values in leg.winding)),
            np.stack([some["vn_hv_kv"], some[f"vn_{side}_kv"]]),
            some[f"sn_{side}_mva"],
        )  # fmt: skip
        _balanced(circuit, units, np.zeros(len(index), dtype=bool))


def leg_nodes(leg: Leg, outside: Array, star: Array) -> Array:
    """The nodes of a leg of a three-winding transformer in the order of its two-port."""
    return np.stack([star, outside] if leg.star_is_from else [outside, star], axis=1)


# -- balanced: the phase shift decides the connection ----------------------------------------------


def _balanced(circuit: Circuit, units: Units, delta_is_low: Array) -> None:
    """Windings by the phase shift, or two-ports where it is no clock number."""
    clock = units.clock()
    other = np.flatnonzero(clock < 0)
    if len(other):
        rest = units.some(other)
        circuit.two_port(rest.kind, rest.letter, rest.rows, rest.ends, rest.ports, rest.answers)
    for number in np.unique(clock[clock >= 0]).tolist():
        connection = CONNECTIONS[number]
        for low in (False, True):
            conns = ("wye", "wye")
            if connection.is_odd:
                conns = ("wye", "delta") if low else ("delta", "wye")
            chosen = np.flatnonzero((clock == number) & (delta_is_low == low))
            if not len(chosen):
                continue
            these = units.some(chosen)
            neutral = [".0" if conn == "wye" else "" for conn in conns]
            _wind(circuit, these, connection, conns, neutral, 0.0)
            for port, y in enumerate(_magnetising(circuit, these)):
                circuit.to_earth(
                    these.kind, marked(these.letter) + "ft"[port], these.rows,
                    these.answers[port], these.ends[:, port], y,
                )  # fmt: skip
            if connection.is_odd:
                circuit.anchor(these.ends[:, conns.index("delta")], these.sn_mva)


def _wind(
    circuit: Circuit,
    units: Units,
    connection: Connection,
    conns: tuple[str, str],
    neutral: list[str],
    antifloat_ppm: float,
) -> None:
    """Transformers of one connection, with nothing but their series impedance."""
    z = 100 * units.series_pu(circuit.vn_kv[units.ends[:, 1]])
    sn = 1e3 * units.sn_mva
    taps = _taps(units, connection)
    circuit.new(
        "transformer", units.letter, units.kind, units.rows, units.answers,
        f"phases=3 windings=2 buses=({{}}.1.2.3{neutral[0]},{{}}.{connection.turn}{neutral[1]}) "
        f"conns=({conns[0]},{conns[1]}) leadlag={connection.leadlag} "
        "kvs=({!r},{!r}) kvas=({!r},{!r}) taps=({!r},{!r}) %rs=({!r},{!r}) xhl={!r} "
        f"ppm_antifloat={antifloat_ppm!r}",
        circuit.names(units.ends[:, 0]), circuit.names(units.ends[:, 1]), *units.rated_kv, sn, sn,
        *taps, z.real / 2, z.real / 2, z.imag,
        phases=("1.2.3", connection.turn),
    )  # fmt: skip
    star = [1e3 / (np.sqrt(3) if conn == "wye" else 1) for conn in conns]
    volts = [kv * factor for kv, factor in zip(units.rated_kv, star, strict=True)]
    circuit.wind(circuit.parts[-1].names, taps, volts)


def _taps(units: Units, connection: Connection) -> tuple[Array, Array]:
    high, low = units.winding.hv_kv / units.rated_kv[0], units.winding.lv_kv / units.rated_kv[1]
    return high, connection.sign * low


def _magnetising(circuit: Circuit, units: Units) -> tuple[Array, Array]:
    """Admittances of the pi at the high and the low terminal [S]."""
    kv = circuit.vn_kv[units.ends]
    at_high = units.ports.earth_from / np.abs(units.ports.ratio) ** 2
    return at_high / kv[:, 0] ** 2, units.ports.earth_to / kv[:, 1] ** 2


# -- three unequal phases: the vector group's own windings -----------------------------------------


class Zero(NamedTuple):
    """What the zero sequence sees of transformers, of their ratings.

    series      leakage; NaN where it is the positive sequence's
    magnetising path in the core, tank or a buried delta; NaN without
    share       of the leakage at the high side of that path
    neutral_ohm between star point and earth
    """

    series: Array
    magnetising: Array
    share: Array
    neutral_ohm: Array


def _zero(some: Some) -> Zero:
    """z0 = vk0, its resistance vkr0; z_m = z0·mag0, split by mag0_rx (as pandapower has it)."""
    z, r = some["vk0_percent"] / 100, some["vkr0_percent"] / 100
    magnitude, rx = z * some["mag0_percent"] / 100, some["mag0_rx"]
    return Zero(
        series=r + 1j * np.sqrt(z**2 - r**2),
        magnetising=magnitude / np.hypot(1, rx) * (rx + 1j),
        share=some.given("si0_hv_partial", 0.5),
        neutral_ohm=1j * some.given("xn_ohm", 0.0),
    )


_GROUP = re.compile(r"(YN|Y|D)(yn|y|d)(\d*)")


def refused_in_phases(network: Network, settings: Settings) -> Iterator[Problem]:
    """Transformers that no windings of ours represent in three unequal phases."""
    rows = network.rows(e.Transformer)
    if not len(rows):
        return
    in_service = rows.column("in_service")
    shift = windings(network, rows, settings)[1].shift
    for row in np.flatnonzero(in_service).tolist():
        unit = rows.elements[row]
        if unit.phases != ALL:
            continue
        if unit.vector_group is None:
            text = "needs a vector_group in three unequal phases"
            yield fault(rows, row, "vector_group", "missing-parameter", text)
            continue
        match = _GROUP.fullmatch(unit.vector_group)
        if not match:
            text = f"has the vector_group {unit.vector_group}: OpenDSS has no zig-zag windings"
            yield fault(rows, row, "vector_group", "unsupported", text)
            continue
        clock = shift[row] / 30
        is_odd = (match[1] == "D") != (match[2] == "d")
        if abs(clock - round(clock)) * 30 > SAME_ANGLE or round(clock) % 2 != is_odd:
            text = (
                f"has a phase shift of {shift[row]:g}°, which windings connected as "
                f"{match[1]}{match[2]} do not give"
            )
            yield fault(rows, row, "shift_degree", "unsupported", text)
        yield from _half_given(rows, row)


def _half_given(rows: Rows, row: int) -> Iterator[Problem]:
    """Fields of the zero sequence that mean nothing without others."""
    unit = rows.elements[row]
    for given, needed in (
        ("vk0_percent", ("vkr0_percent",)),
        ("mag0_percent", ("vk0_percent", "vkr0_percent", "mag0_rx", "si0_hv_partial")),
    ):
        if getattr(unit, given) is None:
            continue
        for name in needed:
            if getattr(unit, name) is None:
                text = f"has {given} and needs {name}"
                yield fault(rows, row, name, "missing-parameter", text)


def _in_phases(circuit: Circuit, units: Units, some: Some, groups: list[str]) -> None:
    letters = np.array([group.rstrip("0123456789") for group in groups])
    zero, clock = _zero(some), units.clock()
    is_cored = ~np.isnan(zero.magnetising) & (zero.magnetising != 0) & (letters != "Dd")
    for group, number, cored in sorted(
        set(zip(letters.tolist(), clock.tolist(), is_cored.tolist(), strict=True))
    ):
        here = (letters == group) & (clock == number) & (is_cored == cored)
        chosen = np.flatnonzero(here)
        these = units.some(chosen)
        _of_group(
            circuit, these, group, CONNECTIONS[number], cored,
            Zero(*(values[chosen] for values in zero)),
        )  # fmt: skip
        for port, y in enumerate(_magnetising(circuit, these)):
            circuit.between_phases(
                these.kind, "t{}" + "ft"[port], these.rows, port, these.ends[:, port], y
            )


def _of_group(
    circuit: Circuit, units: Units, group: str, connection: Connection, cored: bool, zero: Zero
) -> None:
    """Transformers of one vector group and one connection.

    What the zero sequence finds in a core is a path from the middle of the leakage to earth: a
    winding in delta that leads nowhere. What its leakage has beyond the windings' lies between the
    star points and earth.
    """
    match = _GROUP.fullmatch(group)
    assert match is not None  # refused_in_phases
    conns = tuple("delta" if letters in "Dd" else "wye" for letters in match.groups()[:2])
    z = units.series_pu(circuit.vn_kv[units.ends[:, 1]])
    z0 = np.where(np.isnan(zero.series), z, zero.series)
    high, shares = zero.share * z, (zero.share, 1 - zero.share)
    if "delta" in conns:
        shares = (np.ones_like(zero.share),) * 2
        high = zero.share * z0 if conns[0] == "delta" else z - (1 - zero.share) * z0
    buses: list[str] = []
    columns: list[Sequence[str] | Sequence[int]] = []
    at_star = zero.neutral_ohm
    for side, letters in enumerate(match.groups()[:2]):
        columns.append(circuit.names(units.ends[:, side]))
        buses.append("{}." + ("1.2.3", connection.turn)[side])
        if conns[side] == "wye":
            base = (units.winding.hv_kv, units.winding.lv_kv)[side] ** 2 / units.sn_mva
            ohm = shares[side] * (z0 - z) / 3 * base
            if letters.lower() == "yn":
                ohm, at_star = ohm + at_star, 0 * at_star
            else:
                ohm = np.full(len(z), np.nan)
            columns.append(_neutrals(circuit, units, side, ohm, base))
            buses[side] += ".{}"
    tail = "ppm_antifloat=" + repr(ANTIFLOAT_PPM)
    sn, (tap_high, tap_low) = 1e3 * units.sn_mva, _taps(units, connection)
    factors = [1e3 / (np.sqrt(3) if conn == "wye" else 1) for conn in conns]
    circuit.wind(
        [f"transformer.t{row}" for row in units.rows.tolist()], (tap_high, tap_low),
        [kv * factor for kv, factor in zip(units.rated_kv, factors, strict=True)],
    )  # fmt: skip
    plate = [*units.rated_kv, sn, sn, tap_high, tap_low]
    phases = ("1.2.3", connection.turn)
    leadlag = f"leadlag={connection.leadlag}"
    if not cored:
        circuit.new(
            "transformer", "t", units.kind, units.rows, (0, 1),
            f"phases=3 windings=2 buses=({','.join(buses)}) conns=({','.join(conns)}) {leadlag} "
            "kvs=({!r},{!r}) kvas=({!r},{!r}) taps=({!r},{!r}) %rs=({!r},{!r}) xhl={!r} " + tail,
            *columns, *plate, 50 * z.real, 50 * z.real, 100 * z.imag, phases=phases,
        )  # fmt: skip
        return
    low, core = z - high, zero.magnetising
    names = [f"t{row}d" for row in units.rows.tolist()]
    inside = circuit.names(circuit.own_nodes(names, units.rated_kv[1]))
    circuit.new(
        "transformer", "t", units.kind, units.rows, (0, 1, None),
        # One corner of the inner delta is earthed, so that it does not float.
        f"phases=3 windings=3 buses=({','.join(buses)},{{}}.1.2.0) "
        f"conns=({','.join(conns)},delta) {leadlag} "
        "kvs=({!r},{!r},{!r}) kvas=({!r},{!r},{!r}) "
        "taps=({!r},{!r},1) %rs=({!r},{!r},{!r}) xhl={!r} xht={!r} xlt={!r} " + tail,
        *columns, inside, *units.rated_kv, units.rated_kv[1], sn, sn, sn, tap_high, tap_low,
        *(100 * part.real for part in (high, low, core)),
        *(100 * (one + other).imag for one, other in ((high, low), (high, core), (low, core))),
        phases=(*phases, "1.2.3"),
    )  # fmt: skip


def _neutrals(circuit: Circuit, units: Units, side: int, ohm: Array, base: Array) -> list[int]:
    """Nodes of the star points: 0 is earth. Impedances to earth are made; NaN is none at all."""
    solid = np.abs(ohm) < 1e-9 * base
    free = np.flatnonzero(~solid)
    numbers = np.zeros(len(ohm), dtype=int)
    numbers[free] = [circuit.star_point(node) for node in units.ends[free, side].tolist()]
    some = np.flatnonzero(~solid & ~np.isnan(ohm))
    if len(some):
        nodes = [
            f"{name}.{number}"
            for name, number in zip(
                circuit.names(units.ends[some, side]), numbers[some].tolist(), strict=True
            )
        ]
        circuit.new(
            "reactor", "t{}n" + "ft"[side], None, units.rows[some], (None, None),
            "phases=1 bus1={} r={!r} x={!r}", nodes, ohm[some].real, ohm[some].imag,
        )  # fmt: skip
    return numbers.tolist()
