"""Transformers in OpenDSS' words.

The series impedance, the ratio with its taps and the vector group are an OpenDSS transformer's
own. pandapower's magnetising branch lies in the middle of the leakage; as an exact pi it becomes an
admittance to earth at either terminal, which are reactors beside the transformer.

Multiples of 30° are winding connections: turned phases give 120° steps, a delta winding 30°, a
winding the other way round 180°. What tap changers turn beyond that is no winding connection; there
the whole transformer is a two-port of reactors, exact in the positive sequence.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.network import Array
from electrisim.transformers import Leg, TwoPorts, Winding, legs, windings
from opendss_circuit import Circuit, Some, marked, picked


class Connection(NamedTuple):
    """How windings are connected so that the low-voltage side lags by a clock number.

    delta    whether one winding is a delta
    leadlag  of the delta
    turn     the phases at the low-voltage terminals
    sign     -1 where the low-voltage winding is connected the other way round
    """

    delta: bool
    leadlag: str
    turn: str
    sign: int


#: Clock number → connection. The low-voltage voltage turns by -30° (lag) or +30° (lead) in a delta,
#: by 120° for each step of `turn`, by 180° with `sign`.
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


def transformers(circuit: Circuit, some: Some) -> None:
    """Two-winding transformers."""
    ends = circuit.ends(some, "t")
    circuit.connect(some, ends)
    rows, network, settings = some.rows, circuit.network, circuit.settings
    ports, winding = windings(network, rows, settings)
    _units(
        circuit, e.Transformer, "t", some.index, ends, (0, 1),
        picked(ports, some.index),
        Winding(*(values[some.index] for values in winding)),
        np.stack([some["vn_hv_kv"], some["vn_lv_kv"]]),
        some["sn_mva"] * some["parallel"],
        _delta_is_low(some.values("vector_group")),
    )  # fmt: skip


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
        _units(
            circuit, e.ThreeWindingTransformer, f"u{{}}{side[0]}", index,
            leg_nodes(leg, ends[:, port], star),
            (None, port) if leg.star_is_from else (port, None),
            picked(leg.ports, index),
            Winding(*(values[index] for values in leg.winding)),
            np.stack([some["vn_hv_kv"], some[f"vn_{side}_kv"]]),
            some[f"sn_{side}_mva"],
            np.zeros(len(index), dtype=bool),
        )  # fmt: skip


def leg_nodes(leg: Leg, outside: Array, star: Array) -> Array:
    """The nodes of a leg of a three-winding transformer in the order of its two-port."""
    return np.stack([star, outside] if leg.star_is_from else [outside, star], axis=1)


def _units(
    circuit: Circuit,
    kind: type[Element],
    letter: str,
    rows: Array,
    ends: Array,
    answers: tuple[int | None, int | None],
    ports: TwoPorts,
    winding: Winding,
    rated_kv: Array,
    sn_mva: Array,
    delta_is_low: Array,
) -> None:
    """Two-winding transformers between nodes, by winding connection or as two-ports."""
    turns = winding.shift / 30
    clock = np.round(turns)
    is_clock = np.abs(turns - clock) * 30 < SAME_ANGLE
    other = np.flatnonzero(~is_clock)
    if len(other):
        circuit.two_port(kind, letter, rows[other], ends[other], picked(ports, other), answers)
    for number in np.unique(clock[is_clock] % 12).astype(int).tolist():
        connection = CONNECTIONS[number]
        for low in (False, True) if connection.delta else (False,):
            here = is_clock & (clock % 12 == number)
            chosen = np.flatnonzero(here & (delta_is_low == low) if connection.delta else here)
            if len(chosen):
                _connected(
                    circuit, kind, letter, rows[chosen], ends[chosen], answers,
                    picked(ports, chosen),
                    Winding(*(values[chosen] for values in winding)),
                    rated_kv[:, chosen], sn_mva[chosen], connection, low,
                )  # fmt: skip


def _connected(
    circuit: Circuit,
    kind: type[Element],
    letter: str,
    rows: Array,
    ends: Array,
    answers: tuple[int | None, int | None],
    ports: TwoPorts,
    winding: Winding,
    rated_kv: Array,
    sn_mva: Array,
    connection: Connection,
    delta_is_low: bool,
) -> None:
    """Transformers of one winding connection."""
    kv = circuit.vn_kv[ends]
    # The series impedance counts from the low-voltage side with its tap in effect.
    z = 100 / ports.series * sn_mva * (kv[:, 1] / winding.lv_kv) ** 2
    taps = winding.hv_kv / rated_kv[0], connection.sign * winding.lv_kv / rated_kv[1]
    hv, lv = (
        ("wye", "wye")
        if not connection.delta
        else ("wye", "delta")
        if delta_is_low
        else ("delta", "wye")
    )
    high, low = f"{{}}.1.2.3{_NEUTRAL[hv]}", f"{{}}.{connection.turn}{_NEUTRAL[lv]}"
    circuit.new(
        "transformer", letter, kind, rows, answers,
        f"phases=3 windings=2 buses=({high},{low}) conns=({hv},{lv}) leadlag={connection.leadlag} "
        "kvs=({!r},{!r}) kvas=({!r},{!r}) taps=({!r},{!r}) %rs=({!r},{!r}) xhl={!r} "
        "ppm_antifloat=0",
        circuit.names(ends[:, 0]), circuit.names(ends[:, 1]), *rated_kv, 1e3 * sn_mva, 1e3 * sn_mva,
        *taps, z.real / 2, z.real / 2, z.imag,
    )  # fmt: skip
    _magnetising(circuit, kind, letter, rows, ends, answers, ports)
    if connection.delta:
        circuit.anchor(ends[:, int(delta_is_low)], sn_mva)


_NEUTRAL = {"wye": ".0", "delta": ""}


def _magnetising(
    circuit: Circuit,
    kind: type[Element],
    letter: str,
    rows: Array,
    ends: Array,
    answers: tuple[int | None, int | None],
    ports: TwoPorts,
) -> None:
    kv = circuit.vn_kv[ends]
    pattern = marked(letter)
    at_high = ports.earth_from / np.abs(ports.ratio) ** 2 / kv[:, 0] ** 2
    circuit.to_earth(kind, pattern + "f", rows, answers[0], ends[:, 0], at_high)
    circuit.to_earth(
        kind, pattern + "t", rows, answers[1], ends[:, 1], ports.earth_to / kv[:, 1] ** 2
    )


def _delta_is_low(vector_groups: list[object]) -> Array:
    """Which transformers have their delta on the low-voltage side, as in YNd5."""
    return np.array([isinstance(g, str) and "d" in g and "D" not in g for g in vector_groups])
