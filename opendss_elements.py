"""Each kind of element in OpenDSS' words: one short function per kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from electrisim import elements as e
from electrisim.branches import CIRCUITS, line_warming
from electrisim.conductors import by_matrix, positive_sequence
from electrisim.elements import Element
from electrisim.network import Array, Network
from electrisim.phasing import across, partial, words
from electrisim.settings import Settings
from electrisim.topology import Topology
from electrisim.transformers import TwoPorts, legs
from opendss_circuit import Circuit, Some, picked
from opendss_phases import between, lines, of_few_phases, poles, two_nodes, wirings
from opendss_transformers import (
    leg_nodes,
    three_winding_transformers,
    transformers,
)

# OpenDSS turns loads and generators into impedances outside 0.95…1.05 pu (0.9…1.1); we never do.
ALWAYS = "vminpu=0 vmaxpu=1000"


def translate(network: Network, topology: Topology, settings: Settings) -> Circuit:
    """The commands for everything but the sources, which `opendss_sources` adds.

    Raises ProblemError where an element has parameters from which nothing can be made.
    """
    circuit = Circuit(network, topology, settings)
    for kind in network.kinds:
        some = circuit.some(kind)
        if kind in _TRANSLATIONS and len(some):
            _TRANSLATIONS[kind](circuit, some)
    return circuit


def translate_again(
    circuit: Circuit, network: Network, kinds: Sequence[type[Element]]
) -> tuple[Circuit, Circuit]:
    """A circuit with some kinds as they are in a network where only powers differ.

    Returns it, and the same with nothing but these kinds.
    """
    whole, some = circuit.of(network), circuit.of(network)
    whole.parts = [part for part in circuit.parts if part.kind not in kinds]
    some.parts = []
    for kind in kinds:
        if len(these := some.some(kind)):
            _TRANSLATIONS[kind](some, these)
    whole.parts += some.parts
    return whole, some


# -- branches --------------------------------------------------------------------------------------


def _lines(circuit: Circuit, some: Some) -> None:
    ends = circuit.ends(some, "l")
    circuit.connect(some, ends)
    if circuit.unbalanced:
        told = by_matrix(some.rows)[some.index]
        few, rest = np.flatnonzero(told), np.flatnonzero(~told)
        if len(few):
            lines(circuit, some.some(few), ends[few])
            some, ends = some.some(rest), ends[rest]
    if len(some):
        _by_sequences(circuit, some, ends)


def _by_sequences(circuit: Circuit, some: Some, ends: Array) -> None:
    length, parallel = some["length_km"], some["parallel"]
    r, x = some["r_ohm_per_km"], some["x_ohm_per_km"]
    if circuit.settings.consider_line_temperature:
        r = r * line_warming(some.rows)[some.index]
    r0, x0 = some["r0_ohm_per_km"], some["x0_ohm_per_km"]
    # A balanced study has no zero sequence: where none is given, the positive one stands in.
    known = (np.nan_to_num(r0) != 0) | (np.nan_to_num(x0) != 0)
    known &= ~np.isnan(r0 + x0)
    r0, x0 = np.where(known, r0, r), np.where(known, x0, x)
    series = [column * length / parallel for column in (r, x, r0, x0)]
    c = some["c_nf_per_km"]
    shunt = [column * length * parallel for column in (c, some.given("c0_nf_per_km", c))]
    circuit.new(
        "line", "l", e.Line, some.index, (0, 1),
        "phases=3 bus1={}.1.2.3 bus2={}.1.2.3 r1={!r} x1={!r} r0={!r} x0={!r} c1={!r} c0={!r} "
        "length=1 units=none",
        circuit.names(ends[:, 0]), circuit.names(ends[:, 1]), *series, *shunt,
    )  # fmt: skip
    g = 0.5e-6 * some["g_us_per_km"] * length * parallel
    # What leaks in the zero sequence leaks to earth; the rest of the positive one between phases.
    g0 = 0.5e-6 * some.given("g0_us_per_km", 0.0) * length * parallel if circuit.unbalanced else g
    for port, mark in enumerate("ft"):
        circuit.to_earth(e.Line, f"l{{}}{mark}", some.index, port, ends[:, port], g0)
        circuit.between_phases(e.Line, f"l{{}}{mark}d", some.index, port, ends[:, port], g - g0)


def _impedances(circuit: Circuit, some: Some) -> None:
    ends = circuit.ends(some, "z")
    circuit.connect(some, ends)
    ports = CIRCUITS[e.Impedance](circuit.network, some.rows, circuit.settings, {})
    circuit.two_port(e.Impedance, "z", some.index, ends, picked(ports, some.index))


def _switches(circuit: Circuit, some: Some) -> None:
    """Closed switches between buses that have an impedance or fewer poles than three.

    The others are the topology's.
    """
    rows = some.rows
    acts = (rows.at["et"] == "b") & ((rows.column("z_ohm") > 0) | partial(rows))
    some = Some(rows, some.index[acts[some.index]])
    if not len(some):
        return
    ends = circuit.node[np.stack([rows.at["bus"], rows.at["element"]], axis=1)[some.index]]
    circuit.connect(some, ends)
    few = of_few_phases(some)
    if few.any():
        poles(circuit, some.some(few), ends[few])
        some, ends = some.some(~few), ends[~few]
    ports = CIRCUITS[e.Switch](circuit.network, rows, circuit.settings, {})
    circuit.two_port(e.Switch, "k", some.index, ends, picked(ports, some.index))


def two_ports(circuit: Circuit) -> Iterator[tuple[Array, TwoPorts]]:
    """All three-phase branches of a circuit as two-ports, with the nodes at their ends, (n, 2)."""
    network, settings = circuit.network, circuit.settings
    for kind, ends in circuit.ports.items():
        there = (ends[:, 0] >= 0) & ~partial(network.rows(kind))
        some = Some(network.rows(kind), np.flatnonzero(there))
        nodes = ends[some.index]
        if kind is e.Line and circuit.unbalanced:
            yield nodes, picked(positive_sequence(network, some.rows, settings), some.index)
        elif kind in CIRCUITS:
            yield nodes, picked(CIRCUITS[kind](network, some.rows, settings, {}), some.index)
        elif kind is e.ThreeWindingTransformer:
            star = circuit.inner[kind][some.index]
            for port, leg in enumerate(legs(network, settings)):
                yield leg_nodes(leg, nodes[:, port], star), picked(leg.ports, some.index)
        elif kind is e.ExtendedWard:
            inside = circuit.inner[kind][some.index]
            y = circuit.vn_kv[inside] ** 2 / (some["r_ohm"] + 1j * some["x_ohm"])
            none = np.zeros(len(some))
            yield np.stack([nodes[:, 0], inside], axis=1), TwoPorts(y, y, none, none, none + 1)


# -- consumers and fixed generation ----------------------------------------------------------------


def _fixed(
    circuit: Circuit, some: Some, letter: str, class_: str, p_mw: Array, q_mvar: Array
) -> None:
    """Constant power, as a load that consumes it or a generator that delivers it."""
    node = circuit.at(some)
    consumes = class_ == "load"
    more = f"{ALWAYS} vlowpu=0" if consumes else ALWAYS
    circuit.constant.append((node, (1 if consumes else -1) * (p_mw + 1j * q_mvar)))
    for here, wiring in wirings(circuit, some):
        at = node[here]
        circuit.new(
            class_, letter, some.rows.kind, some.index[here], (0,),
            f"{wiring.properties} kw={{!r}} kvar={{!r}} model=1 {more}",
            circuit.names(at), circuit.vn_kv[at] * wiring.across, 1e3 * p_mw[here],
            1e3 * q_mvar[here], phases=(wiring.phases,),
        )  # fmt: skip


def _loads(circuit: Circuit, some: Some) -> None:
    circuit.connect(some, circuit.at(some)[:, None])
    shares = np.stack([some[f"const_{what}_{of}_percent"] / 100 for of in "pq" for what in "zi"])
    depends = shares.any(axis=0) & circuit.settings.voltage_depend_loads
    fixed, varying = np.flatnonzero(~depends), np.flatnonzero(depends)
    if len(fixed):
        these = some.some(fixed)
        p, q = (these[name] * these["scaling"] for name in ("p_mw", "q_mvar"))
        _fixed(circuit, these, "d", "load", p, q)
    if len(varying):
        _zip_loads(circuit, some.some(varying), shares[:, varying])


def _zip_loads(circuit: Circuit, some: Some, shares: Array) -> None:
    """Loads with shares z_p, i_p, z_q, i_q that go with the voltage squared, or with it."""
    node = circuit.at(some)
    kv = circuit.vn_kv[node]
    p, q = some["p_mw"] * some["scaling"], some["q_mvar"] * some["scaling"]
    z_p, i_p, z_q, i_q = shares
    as_impedance = p * (z_p + i_p / 2) + 1j * q * (z_q + i_q / 2)
    circuit.earth.append((node, np.conj(as_impedance) / kv**2))
    circuit.constant.append((node, p + 1j * q - as_impedance))
    columns = (1e3 * p, 1e3 * q, z_p, i_p, 1 - z_p - i_p, z_q, i_q, 1 - z_q - i_q)
    for here, wiring in wirings(circuit, some):
        circuit.new(
            "load", "d", e.Load, some.index[here], (0,),
            f"{wiring.properties} kw={{!r}} kvar={{!r}} model=8 {ALWAYS} vlowpu=0 "
            "zipv=({!r},{!r},{!r},{!r},{!r},{!r},0)",
            circuit.names(node[here]), kv[here] * wiring.across,
            *(column[here] for column in columns), phases=(wiring.phases,),
        )  # fmt: skip


def _static_generators(circuit: Circuit, some: Some) -> None:
    circuit.connect(some, circuit.at(some)[:, None])
    p, q = some["p_mw"], some["q_mvar"]
    if circuit.settings.enforce_q_lims:
        # As pandapower: what has fixed reactive power keeps within its limits, too.
        q = np.fmin(np.fmax(q, some["min_q_mvar"]), some["max_q_mvar"])
    _fixed(circuit, some, "s", "generator", p * some["scaling"], q * some["scaling"])


def _motors(circuit: Circuit, some: Some) -> None:
    circuit.connect(some, circuit.at(some)[:, None])
    p = some["pn_mech_mw"] / (some["efficiency_percent"] / 100)
    p = p * some["loading_percent"] / 100 * some["scaling"]
    _fixed(circuit, some, "m", "load", p, p * np.tan(np.arccos(some["cos_phi"])))


def _phase_by_phase(circuit: Circuit, some: Some) -> None:
    """Power of each phase, or in a delta of each branch; a balanced study takes the sum."""
    circuit.connect(some, circuit.at(some)[:, None])
    consumes = some.rows.kind is e.AsymmetricLoad
    letter, class_ = ("a", "load") if consumes else ("y", "generator")
    powers = [
        (some[f"p_{phase}_mw"] + 1j * some[f"q_{phase}_mvar"]) * some["scaling"] for phase in "abc"
    ]
    if not circuit.unbalanced:
        total = np.sum(powers, axis=0)
        _fixed(circuit, some, letter, class_, total.real, total.imag)
        return
    is_delta = np.array([type_ == "delta" for type_ in some.values("type")])
    for branch, power in enumerate(powers):
        for delta in (False, True):
            chosen = np.flatnonzero(is_delta == delta)
            if len(chosen):
                _one_phase(circuit, some.some(chosen), letter, class_, branch, delta, power[chosen])


def _one_phase(
    circuit: Circuit,
    some: Some,
    letter: str,
    class_: str,
    branch: int,
    delta: bool,
    power_mva: Array,
) -> None:
    """Constant power between a phase and earth, or between it and the next phase."""
    node = circuit.at(some)
    consumes = class_ == "load"
    circuit.constant.append((node, (1 if consumes else -1) * power_mva))
    at = f"{branch + 1}.{(branch + 1) % 3 + 1}" if delta else f"{branch + 1}"
    more = f"{ALWAYS} vlowpu=0" if consumes else ALWAYS
    circuit.new(
        class_, f"{letter}{{}}{'abc'[branch]}", some.rows.kind, some.index, (0,),
        f"phases=1 conn={'delta' if delta else 'wye'} bus1={{}}.{at}{'' if delta else '.0'} "
        f"kv={{!r}} kw={{!r}} kvar={{!r}} model=1 {more}",
        circuit.names(node), circuit.vn_kv[node] / (1 if delta else np.sqrt(3)),
        1e3 * power_mva.real, 1e3 * power_mva.imag, phases=(at,), branch=branch,
    )  # fmt: skip


def _storages(circuit: Circuit, some: Some) -> None:
    node = circuit.at(some)
    circuit.connect(some, node[:, None])
    p, q = some["p_mw"] * some["scaling"], some["q_mvar"] * some["scaling"]
    if circuit.settings.load_model == "admittance":
        # Of a storage the engine makes an admittance of its rating, not of its power.
        _fixed(circuit, some, "e", "load", p, q)
        return
    # One that is empty (full) would refuse to discharge (charge); a snapshot takes no energy.
    stored = np.clip(some.given("soc_percent", 50), 1e-3, 100 - 1e-3)
    rating = 2e3 * np.maximum(np.hypot(p, q), 1e-3)
    circuit.constant.append((node, p + 1j * q))
    energy = 1e3 * np.maximum(some.given("max_e_mwh", 1), 1e-3)
    columns = (rating, rating, energy, stored, -1e3 * p, -1e3 * q)
    for here, wiring in wirings(circuit, some):
        at = node[here]
        circuit.new(
            "storage", "e", e.Storage, some.index[here], (0,),
            f"{wiring.properties} kwrated={{!r}} kva={{!r}} kwhrated={{!r}} %stored={{!r}} "
            "kw={!r} kvar={!r} %reserve=0 %idlingkw=0 %effcharge=100 %effdischarge=100 model=1 "
            f"{ALWAYS}",
            circuit.names(at), circuit.vn_kv[at] * wiring.across,
            *(column[here] for column in columns), phases=(wiring.phases,),
        )  # fmt: skip


def _pv_systems(circuit: Circuit, some: Some) -> None:
    node = circuit.at(some)
    circuit.connect(some, node[:, None])
    curves = [_curves(circuit, some, field, mark) for field, mark in _PV_CURVES.items()]
    kvar = some["kvar"]
    circuit.constant.append((node, -some["pmpp_kw"] * some["irradiance_kw_per_m2"] / 1e3))
    reactive = [
        f"kvar={kvar_!r}" if kvar_ == kvar_ else f"pf={pf!r}"
        for kvar_, pf in zip(kvar.tolist(), some["pf"].tolist(), strict=True)
    ]
    texts = [*curves, reactive]
    numbers = (
        some["pmpp_kw"], some["irradiance_kw_per_m2"], some["temperature_degree_celsius"],
        some.given("kva", some["pmpp_kw"]), some["cutin_percent"], some["cutout_percent"],
        some["pmpp_percent"],
    )  # fmt: skip
    for here, wiring in wirings(circuit, some):
        at = node[here]
        circuit.new(
            "pvsystem", "p", e.PVSystem, some.index[here], (0,),
            f"{wiring.properties} pmpp={{!r}} irradiance={{!r}} temperature={{!r}} kva={{!r}} "
            f"%cutin={{!r}} %cutout={{!r}} %pmpp={{!r}}{{}}{{}} {{}} model=1 {ALWAYS}",
            circuit.names(at), circuit.vn_kv[at] * wiring.across,
            *(column[here] for column in numbers), *([text[k] for k in here] for text in texts),
            phases=(wiring.phases,),
        )  # fmt: skip


_PV_CURVES = {"temperature_curve": " p-tcurve=", "efficiency_curve": " effcurve="}


def _curves(circuit: Circuit, some: Some, field: str, property_: str) -> list[str]:
    """Define the curves that are given; returns how each element refers to its own."""
    refers = []
    for row, points in zip(some.index.tolist(), some.values(field), strict=True):
        if not points:
            refers.append("")
            continue
        name = f"p{row}{field[0]}"
        x, y = (",".join(repr(float(v)) for v in axis) for axis in zip(*points, strict=True))
        circuit.new(
            "xycurve", f"p{{}}{field[0]}", None, np.array([row]), (),
            f"npts={len(points)} xarray=({x}) yarray=({y})",
        )  # fmt: skip
        refers.append(property_ + name)
    return refers


# -- admittances and equivalents -------------------------------------------------------------------


def _shunts(circuit: Circuit, some: Some) -> None:
    node = circuit.at(some)
    circuit.connect(some, node[:, None])
    vn_kv = some.given("vn_kv", circuit.vn_kv[node])
    p, q = some["p_mw"] * some["step"], some["q_mvar"] * some["step"]
    letter = {e.Shunt: "h", e.ShuntReactor: "r", e.Capacitor: "c"}[some.rows.kind]
    y = (p - 1j * q) / vn_kv**2
    circuit.earth.append((node, y))
    few = of_few_phases(some) if circuit.unbalanced else np.zeros(len(some), dtype=bool)
    is_bank = (p == 0) & (q < 0)
    bank, rest = np.flatnonzero(is_bank & ~few), np.flatnonzero(~is_bank & ~few)
    if len(bank):
        circuit.new(
            "capacitor", letter, some.rows.kind, some.index[bank], (0, None),
            "phases=3 conn=wye bus1={}.1.2.3 kv={!r} kvar={!r}",
            circuit.names(node[bank]), vn_kv[bank], -1e3 * q[bank],
        )  # fmt: skip
    circuit.to_earth(some.rows.kind, letter, some.index[rest], 0, node[rest], y[rest])
    if few.any():
        _shunts_of_few_phases(circuit, some.some(few), node[few], letter, y[few])


def _shunts_of_few_phases(circuit: Circuit, some: Some, node: Array, letter: str, y: Array) -> None:
    """Admittances of one phase or between two, which carry the whole power."""
    kind, word_of = some.rows.kind, np.array(words(some.rows), dtype=object)[some.index]
    kv = circuit.vn_kv[node]
    for word in sorted(set(word_of)):
        siemens = y * (3 if len(word) == 1 else 1)
        is_bank = (y.real == 0) & (y.imag > 0)
        bank, rest = (np.flatnonzero((word_of == word) & part) for part in (is_bank, ~is_bank))
        between(circuit, kind, letter, some.index[rest], 0, node[rest], word, siemens[rest])
        if len(bank):
            nodes, names = two_nodes(word), circuit.names(node[bank])
            rated = kv[bank] * across(word)
            circuit.new(
                "capacitor", letter, kind, some.index[bank], (0, 0 if len(word) == 2 else None),
                f"phases=1 bus1={{}}.{nodes[0]} bus2={{}}.{nodes[1]} kv={{!r}} kvar={{!r}}",
                names, names, rated, 1e3 * siemens[bank].imag * rated**2, phases=nodes,
            )  # fmt: skip


def _wards(circuit: Circuit, some: Some) -> None:
    node = circuit.at(some)
    circuit.connect(some, node[:, None])
    _fixed(circuit, some, "w", "load", some["ps_mw"], some["qs_mvar"])
    y = (some["pz_mw"] - 1j * some["qz_mvar"]) / circuit.vn_kv[node] ** 2
    circuit.earth.append((node, y))
    circuit.to_earth(e.Ward, "w", some.index, 0, node, y)


def _extended_wards(circuit: Circuit, some: Some) -> None:
    """A ward and an impedance to a node of our own, where `opendss_sources` holds the voltage."""
    node = circuit.at(some)
    inside = circuit.own_nodes([f"x{row}i" for row in some.index.tolist()], circuit.vn_kv[node])
    circuit.connect(some, node[:, None], inside)
    _fixed(circuit, some, "x", "load", some["ps_mw"], some["qs_mvar"])
    y = (some["pz_mw"] - 1j * some["qz_mvar"]) / circuit.vn_kv[node] ** 2
    circuit.earth.append((node, y))
    circuit.to_earth(e.ExtendedWard, "x", some.index, 0, node, y)
    z = some["r_ohm"] + 1j * some["x_ohm"]
    ends = np.stack([node, inside], axis=1)
    circuit.between(e.ExtendedWard, "x{}i", some.index, ends, z, (0, None))


_TRANSLATIONS: Mapping[type[Element], Callable[[Circuit, Some], None]] = MappingProxyType(
    {
        e.Line: _lines,
        e.Transformer: transformers,
        e.ThreeWindingTransformer: three_winding_transformers,
        e.Impedance: _impedances,
        e.Switch: _switches,
        e.Load: _loads,
        e.AsymmetricLoad: _phase_by_phase,
        e.StaticGenerator: _static_generators,
        e.AsymmetricStaticGenerator: _phase_by_phase,
        e.Motor: _motors,
        e.Storage: _storages,
        e.PVSystem: _pv_systems,
        e.Shunt: _shunts,
        e.ShuntReactor: _shunts,
        e.Capacitor: _shunts,
        e.Ward: _wards,
        e.ExtendedWard: _extended_wards,
    }
)
