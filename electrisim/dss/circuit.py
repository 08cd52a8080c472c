"""Objects to elements in the documented spelling.

What the graph cannot say is refused by the object's name; what it says in other words is told in a
note. Powers, voltages and impedances are those of OpenDSS, at the bus's nominal voltage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from electrisim.dss.controls import regulate
from electrisim.dss.lines import MATRICES, is_transposed, line
from electrisim.dss.script import Circuit, Note, Thing
from electrisim.dss.syntax import problem
from electrisim.dss.transformers import transformer
from electrisim.dss.values import BusAt
from electrisim.dss.wiring import (
    DEFAULT_KV,
    ROOT3,
    Bases,
    UnrepresentedError,
    across,
    line_phases,
    phase_word,
    refuse,
    terminals,
)
from electrisim.laws import C_MAX

#: (id, typ, label, parameters)
Made = tuple[str, str, str, dict[str, Any]]


class Imported(NamedTuple):
    """A circuit as a graph.

    elements  by id, in the documented spelling
    settings  with which it is the circuit that was said
    notes     what was passed over
    """

    elements: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    notes: list[Note]


def graph(circuit: Circuit) -> Imported:
    """Raises ProblemError with every object that the graph cannot represent."""
    bases = Bases(circuit)
    made: dict[str, dict[str, Any]] = {
        _bus(name): _element("Bus", name, {"vn_kv": bases[name]}) for name in _buses(circuit)
    }
    faults = []
    for class_, translate in _TRANSLATIONS.items():
        for thing in circuit.of(class_):
            try:
                for id_, typ, label, parameters in translate(thing, circuit, bases):
                    _require_new(id_, made)
                    if thing.get("enabled") is False:
                        parameters["in_service"] = False
                    made[id_] = _element(typ, label, parameters)
            except UnrepresentedError as error:
                text = f"{thing.id} {error}."
                faults.append(problem(text, thing.place, "unrepresented", thing.id))
    settings = _settings(circuit, made)
    for thing in filter(_of_zero_sequence, circuit.of("capacitor")):
        text = f"{thing.id} conducts in the zero sequence alone, which has no place in the graph."
        if "mode" in settings:
            faults.append(problem(text, thing.place, "unrepresented", thing.id))
        else:
            circuit.notes.append(Note(thing.place, text))
    refuse(faults)
    regulate(circuit, bases, made)
    _open(circuit, made)
    return Imported(made, settings, circuit.notes)


def _require_new(id_: str, made: Mapping[str, Any]) -> None:
    if id_ in made:
        raise UnrepresentedError(f"is called as another element is, {id_}")


def _element(typ: str, label: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"typ": typ, "name": label, "parameters": dict(parameters)}


def _buses(circuit: Circuit) -> Iterator[str]:
    """Every bus once, in the order in which they are said."""
    seen: dict[str, None] = {}
    for things in circuit.things.values():
        for thing in things.values():
            if thing.class_ == "vsource":
                seen[thing.get("bus1", _SOURCE_BUS).name] = None
            for at in terminals(thing):
                seen[at.name] = None
    yield from seen


def _bus(name: str) -> str:
    return f"bus.{name}"


_SOURCE_BUS = BusAt("sourcebus", ())


def _settings(circuit: Circuit, made: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "solver": "opendss", "frequency": circuit.frequency_hz, "source_impedance": True,
    }  # fmt: skip
    if any(_is_unequal(element["parameters"]) for element in made.values()):
        found["mode"] = "unbalanced"
    if circuit.options.get("loadmodel", "p")[:1] == "a":
        found["load_model"] = "admittance"
    return found


def _is_unequal(parameters: Mapping[str, Any]) -> bool:
    if "phases" in parameters:
        return True
    triangles = (parameters.get(name, ()) for name in MATRICES)
    return not all(is_transposed(triangle) for triangle in triangles if triangle)


def _open(circuit: Circuit, made: dict[str, dict[str, Any]]) -> None:
    """Open ends of branches become switches; what has one end is out of service."""
    for id_, terminal in circuit.opened:
        parameters = made[id_]["parameters"] if id_ in made else {}
        ends = [
            parameters[name]
            for name in ("from_bus", "to_bus", "hv_bus", "lv_bus")
            if name in parameters
        ]
        if len(ends) < 2:
            parameters["in_service"] = False
            continue
        bus = _bus(_terminal(circuit, id_, terminal))
        switch = {"bus": bus, "element": id_, "closed": False}
        made[f"open.{id_}.{terminal}"] = _element("Switch", f"{id_} at {terminal}", switch)


def _terminal(circuit: Circuit, id_: str, terminal: int) -> str:
    class_, _, name = id_.partition(".")
    thing = circuit.things[class_][name]
    key = (terminal, "bus") if class_ == "transformer" else f"bus{terminal}"
    at = thing.get(key)
    if at is None:
        text = f"{id_} has no terminal {terminal} to open."
        refuse([problem(text, thing.place, "unrepresented", id_)])
    name_: str = at.name
    return name_


# -- sources ---------------------------------------------------------------------------------------


def _source(thing: Thing, circuit: Circuit, bases: Bases) -> Iterator[Made]:
    at = thing.get("bus1", _SOURCE_BUS)
    kv = thing.get("basekv", 115.0)
    if thing.get("phases", 3) != 3:
        raise UnrepresentedError("has fewer than three phases behind an impedance")
    phase_word(at, 3)
    if thing.get("frequency", circuit.frequency_hz) != circuit.frequency_hz:
        raise UnrepresentedError("has another frequency than the circuit")
    z1, z0 = _impedances(thing, kv)
    if z1.imag == 0 or z0.imag == 0:
        raise UnrepresentedError("needs a reactance, in x1 and x0")
    yield thing.id, "External Grid", thing.label, {
        "bus": _bus(at.name), "vm_pu": thing.get("pu", 1.0) * kv / bases[at.name],
        "va_degree": thing.get("angle", 0.0), "s_sc_max_mva": C_MAX * kv**2 / abs(z1),
        "rx_max": z1.real / z1.imag, "x0x_max": z0.imag / z1.imag, "r0x0_max": z0.real / z0.imag,
    }  # fmt: skip


def _impedances(thing: Thing, kv: float) -> tuple[complex, complex]:
    """Z1 and Z0 [Ω] from what was said last: impedances, short-circuit powers or currents."""
    z1 = {"r1": 1.65, "x1": 6.6}
    z0 = {"r0": 1.9, "x0": 5.7}
    mva = {"mvasc3": 2000.0, "mvasc1": 2100.0}
    of_powers = True
    for name, value in thing.values.items():
        if name in z1:
            z1[name], of_powers = value, False
        elif name in z0:
            z0[name], of_powers = value, False
        elif name in ("z1", "z0"):
            if len(value) != 2:
                raise UnrepresentedError(f"needs {name} as a pair of numbers")
            pair = z1 if name == "z1" else z0
            pair |= dict(zip(pair, value, strict=True))
            of_powers = False
            if name == "z1" and "z0" not in thing:
                z0 |= dict(zip(z0, value, strict=True))
        elif name in mva:
            mva[name], of_powers = value, True
        elif name in ("isc3", "isc1"):
            mva[f"mvasc{name[-1]}"], of_powers = value * kv * ROOT3 / 1e3, True
        elif name in ("x1r1", "x0r0"):
            of_powers = True
    if not of_powers:
        return complex(z1["r1"], z1["x1"]), complex(z0["r0"], z0["x0"])
    return _of_powers(kv, mva, thing.get("x1r1", 4.0), thing.get("x0r0", 3.0))


def _of_powers(
    kv: float, mva: Mapping[str, float], x1r1: float, x0r0: float
) -> tuple[complex, complex]:
    """|Z1| = kV²/S3, and Z0 so that |2·Z1 + Z0| = 3·kV²/S1, both with their X/R."""
    if min(mva.values()) <= 0 or kv <= 0 or x1r1 == 0:
        raise UnrepresentedError("needs short-circuit powers and a basekv of more than 0")
    x1 = kv**2 / mva["mvasc3"] / math.hypot(1, 1 / x1r1)
    z1 = complex(x1 / x1r1, x1)
    a, b = 1 + x0r0**2, 4 * (z1.real + z1.imag * x0r0)
    c = 4 * abs(z1) ** 2 - (3 * kv**2 / mva["mvasc1"]) ** 2
    if b * b < 4 * a * c:
        raise UnrepresentedError("has a single-phase short-circuit power that no Z0 gives")
    r0 = (-b + math.sqrt(b * b - 4 * a * c)) / (2 * a)
    return z1, complex(r0, r0 * x0r0)


# -- branches --------------------------------------------------------------------------------------


def _line(thing: Thing, circuit: Circuit, bases: Bases) -> Iterator[Made]:
    one, other = thing.get("bus1"), thing.get("bus2")
    if one is None or other is None:
        raise UnrepresentedError("needs bus1 and bus2")
    base_hz = circuit.options.get("defaultbasefrequency", 60.0)
    parameters, km = line(thing, circuit.frequency_hz, base_hz)
    ends = {"from_bus": _bus(one.name), "to_bus": _bus(other.name), "length_km": km}
    yield thing.id, "Line", thing.label, ends | parameters


def _transformer(thing: Thing, circuit: Circuit, bases: Bases) -> Iterator[Made]:
    typ, parameters = transformer(thing)
    sides = {"hv_bus", "mv_bus", "lv_bus"} & parameters.keys()
    named = {side: _bus(parameters[side]) for side in sides}
    yield thing.id, typ, thing.label, parameters | named


def _reactor(thing: Thing, circuit: Circuit, bases: Bases) -> Iterator[Made]:
    at, phases = _at(thing), int(thing.get("phases", 3))
    y = _reactor_siemens(thing, circuit.frequency_hz)
    other = thing.get("bus2")
    if other is not None and other.name != at.name:
        word = line_phases(at, other, phases)
        ends = {"from_bus": _bus(at.name), "to_bus": _bus(other.name)}
        yield thing.id, "Line", thing.label, ends | _series(word, 1 / y)
        return
    yield from _shunt(thing, bases, y)


def _series(word: str, z: complex) -> dict[str, Any]:
    """Equal impedances in every phase, without coupling; no rating is known."""
    count = len(word)
    found: dict[str, Any] = {"length_km": 1.0}
    for name, value in (("r", z.real), ("x", z.imag)):
        rows = [[0.0] * row + [value] for row in range(count)]
        found |= {f"{name}_matrix_ohm_per_km": rows}
    if word != "abc":
        return found | {"phases": word}
    sequences = {"r_ohm_per_km": z.real, "x_ohm_per_km": z.imag, "c_nf_per_km": 0.0}
    zero = {"r0_ohm_per_km": z.real, "x0_ohm_per_km": z.imag, "c0_nf_per_km": 0.0}
    return found | sequences | (zero if z.real >= 0 else {})


def _reactor_siemens(thing: Thing, frequency_hz: float) -> complex:
    """Admittance of a phase, or in a delta of a branch."""
    r, x = thing.get("r", 0.0), thing.get("x", 0.0)
    if "lmh" in thing:
        x = 2e-3 * math.pi * frequency_hz * thing.get("lmh")
    if not r and not x:
        kv, mvar = thing.get("kv", DEFAULT_KV), thing.get("kvar", 100.0) / 1e3
        if kv <= 0 or mvar == 0:
            raise UnrepresentedError("needs kv and kvar, or r and x")
        branches = 1 if int(thing.get("phases", 3)) == 1 else 3
        is_wye = branches == 3 and not _is_delta(thing)
        return complex(0, -mvar / branches / (kv / ROOT3 if is_wye else kv) ** 2)
    parallel = 1 / thing.get("rp") if thing.get("rp") else 0.0
    return complex(1 / complex(r, x) + parallel)


def _capacitor(thing: Thing, circuit: Circuit, bases: Bases) -> Iterator[Made]:
    if "cmatrix" in thing:
        if not _of_zero_sequence(thing):
            raise UnrepresentedError("has a cmatrix; give kvar and kv")
        return
    other = thing.get("bus2")
    if other is not None and (other.name != _at(thing).name or any(other.nodes)):
        raise UnrepresentedError("is in series, which has no place in the graph")
    for name in ("r", "xl"):
        if any(thing.get(name, ())):
            raise UnrepresentedError(f"has {name} in series, which has no place in the graph")
    each = _steps(thing)
    states = (*(round(state) for state in thing.get("states", ())), *[1] * len(each))[: len(each)]
    total = sum(q for q, on in zip(each, states, strict=True) if on)
    kv, phases = thing.get("kv", DEFAULT_KV), int(thing.get("phases", 3))
    if kv <= 0:
        raise UnrepresentedError("needs a kv of more than 0")
    is_wye = phases == 3 and not _is_delta(thing)
    branches = 1 if phases == 1 else 3
    y = 1j * total / 1e3 / branches / (kv / ROOT3 if is_wye else kv) ** 2
    yield from _shunt(thing, bases, y, "Capacitor")


def _of_zero_sequence(thing: Thing) -> bool:
    """Whether a capacitor has a matrix of equal entries, which no other sequence sees."""
    entries = {value for row in thing.get("cmatrix", ()) for value in row}
    return len(entries) == 1 and int(thing.get("phases", 3)) == len(thing.get("cmatrix"))


def _steps(thing: Thing) -> list[float]:
    """kvar of every step: numsteps divides what there was, kvar after it fills from the first."""
    each = [1200.0]
    for name, value in thing.values.items():
        if name == "numsteps":
            if not 1 <= value <= _MOST_STEPS:
                raise UnrepresentedError(f"has {value} steps")
            each = [each[0] / value] * value
        elif name == "kvar":
            count = int(thing.get("numsteps", 1)) if len(each) > 1 else 1
            each = [*value, *[0.0] * count][:count]
    if any(step != each[0] for step in each):
        # Measured on both builds: of [100 200] the second step alone gives 100.
        raise UnrepresentedError("has unequal steps, of which OpenDSS takes the first for all")
    return each


_MOST_STEPS = 1000


def _shunt(thing: Thing, bases: Bases, y: complex, typ: str = "Shunt") -> Iterator[Made]:
    """Admittances of a phase or branch [S], as power at the bus's nominal voltage."""
    at, phases, delta = _at(thing), int(thing.get("phases", 3)), _is_delta(thing)
    word = phase_word(at, phases, delta)
    vn_kv = bases[at.name]
    power = (3 if word == "abc" and delta else 1) * across(vn_kv, word) ** 2 * y.conjugate()
    parameters = {"bus": _bus(at.name), "p_mw": power.real, "q_mvar": power.imag}
    if word != "abc":
        yield thing.id, typ, thing.label, {**parameters, "phases": word}
    elif delta:
        for side in ("ab", "bc", "ca"):
            third = {"p_mw": power.real / 3, "q_mvar": power.imag / 3, "phases": side}
            yield f"{thing.id}.{side}", typ, f"{thing.label} {side}", parameters | third
    else:
        yield thing.id, typ, thing.label, parameters


# -- consumers and generators ----------------------------------------------------------------------


def _at(thing: Thing) -> BusAt:
    at = thing.get("bus1")
    if not isinstance(at, BusAt):
        raise UnrepresentedError("needs bus1")
    return at


def _is_delta(thing: Thing) -> bool:
    return str(thing.get("conn", "wye"))[:1] in ("d", "l")


def _placed(thing: Thing, bases: Bases) -> Iterator[tuple[str, str, dict[str, Any], float, float]]:
    """(id, label, where it is, share of its power, nominal voltage of the bus per its own kv).

    Two phases in wye are two elements.
    """
    at, phases, delta = _at(thing), int(thing.get("phases", 3)), _is_delta(thing)
    kv = thing.get("kv", DEFAULT_KV)
    if kv <= 0:
        raise UnrepresentedError("needs a kv of more than 0")
    where: dict[str, Any] = {"bus": _bus(at.name)}
    vn_kv = bases[at.name]
    if phases == 2 and not delta:
        # OpenDSS takes the kv of two phases for one between them.
        for node in at.nodes[:2] or (1, 2):
            word = phase_word(BusAt(at.name, (node,)), 1)
            parts = {**where, "phases": word}
            ratio = across(vn_kv, word) / (kv / ROOT3)
            yield f"{thing.id}.{word}", f"{thing.label} {word}", parts, 0.5, ratio
        return
    word = phase_word(at, phases, delta)
    if word != "abc":
        where["phases"] = word
    yield thing.id, thing.label, where, 1.0, across(vn_kv, word) / kv


def _by_factor(kw: float, pf: float) -> float:
    """kvar at a power factor, negative where that is."""
    if not 0 < abs(pf) <= 1:
        raise UnrepresentedError("needs a pf from -1 to 1, other than 0")
    return math.copysign(abs(kw) * math.sqrt(1 / pf**2 - 1), pf * kw)


def _load(thing: Thing, circuit: Circuit, bases: Bases) -> Iterator[Made]:
    kw, kvar = _load_power(thing)
    fixed = str(thing.get("status", "v"))[:1] == "f"
    scaling = 1.0 if fixed else circuit.options.get("loadmult", 1.0)
    for id_, label, where, share, ratio in _placed(thing, bases):
        p, p_shares = _zip(thing, "p", ratio)
        q, q_shares = _zip(thing, "q", ratio)
        parameters: dict[str, Any] = {
            **where, "p_mw": share * kw / 1e3 * p, "q_mvar": share * kvar / 1e3 * q,
            **p_shares, **q_shares,
        }  # fmt: skip
        if scaling != 1:
            parameters["scaling"] = scaling
        if "phases" not in where and _is_delta(thing):
            parameters["type"] = "delta"
        yield id_, "Load", label, parameters


def _load_power(thing: Thing) -> tuple[float, float]:
    """kW and kvar: the last of kw, kvar and kva says which two count."""
    said = [key for key in thing.values if key in ("kw", "kvar", "kva")]
    kw, pf = thing.get("kw", 10.0), thing.get("pf", 0.88)
    last = said[-1] if said else "kw"
    if last == "kvar":
        return kw, thing.get("kvar")
    if last == "kva":
        kw = thing.get("kva") * abs(pf)
    return kw, _by_factor(kw, pf)


#: Load model → shares of impedance, current and power of P, and of Q.
_SHARES: Mapping[int, tuple[tuple[float, ...], tuple[float, ...]]] = MappingProxyType(
    {
        1: ((0.0, 0.0, 1.0), (0.0, 0.0, 1.0)),
        2: ((1.0, 0.0, 0.0), (1.0, 0.0, 0.0)),
        3: ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0)),
        5: ((0.0, 1.0, 0.0), (0.0, 1.0, 0.0)),
    }
)


def _zip(thing: Thing, part: str, ratio: float) -> tuple[float, dict[str, float]]:
    """Power at the bus's nominal voltage, of that at the load's own; shares in percent there.

    ratio  nominal voltage of the bus, in the load's kv
    """
    model = thing.get("model", 1)
    if model == 8:
        given = thing.get("zipv", ())
        if len(given) != 7:
            raise UnrepresentedError("has model 8 and needs zipv with seven numbers")
        shares = given[:3] if part == "p" else given[3:6]
        if abs(sum(shares) - 1) > 1e-6 or min(shares) < 0:
            raise UnrepresentedError("needs zipv whose shares are from 0 to 1 and add up to 1")
    elif model in _SHARES:
        shares = _SHARES[model][0 if part == "p" else 1]
    else:
        raise UnrepresentedError(f"has model {model}; the graph has 1, 2, 3, 5 and 8")
    at_nominal = [share * ratio**power for share, power in zip(shares, (2, 1, 0), strict=True)]
    total = sum(at_nominal)
    percent = {
        f"const_{name}_{part}_percent": 100 * share / total
        for name, share in zip("zi", at_nominal, strict=False)
        if share
    }
    return total, percent


def _generator(thing: Thing, circuit: Circuit, bases: Bases) -> Iterator[Made]:
    if "kw" not in thing:
        raise UnrepresentedError("needs kw")
    kw, kvar = _generated(thing)
    model = thing.get("model", 1)
    if model not in (1, 3):
        raise UnrepresentedError(f"has model {model}; the graph has 1 and 3")
    for id_, label, where, share, ratio in _placed(thing, bases):
        power = {**where, "p_mw": share * kw / 1e3}
        if model == 1:
            power["q_mvar"] = share * kvar / 1e3
            yield id_, "Static Generator", label, power
            continue
        if "phases" in where:
            raise UnrepresentedError("holds its voltage and has fewer than three phases")
        yield id_, "Generator", label, {**power, "vm_pu": thing.get("vpu", 1.0) / ratio}


def _generated(thing: Thing) -> tuple[float, float]:
    """kW and kvar: a kvar sets the power factor, which a kw after it keeps."""
    kw, pf = 1000.0, 0.88
    kvar = _by_factor(kw, pf)
    for name, value in thing.values.items():
        if name == "kvar":
            kvar = value
            size = math.hypot(kw, kvar)
            pf = math.copysign(abs(kw) / size if size else 1.0, kvar * kw) if kw else pf
        elif name in ("kw", "pf"):
            kw, pf = (value, pf) if name == "kw" else (kw, value)
            kvar = _by_factor(kw, pf)
    return kw, kvar


def _pv_system(thing: Thing, circuit: Circuit, bases: Bases) -> Iterator[Made]:
    if thing.get("model", 1) != 1:
        raise UnrepresentedError(f"has model {thing.get('model')}; the graph has 1")
    parameters: dict[str, Any] = {
        "pmpp_kw": thing.get("pmpp", 500.0), "irradiance_kw_per_m2": thing.get("irradiance", 1.0),
        "temperature_degree_celsius": thing.get("temperature", 25.0),
        "kva": thing.get("kva", 500.0), "cutin_percent": thing.get("%cutin", 20.0),
        "cutout_percent": thing.get("%cutout", 20.0), "pmpp_percent": thing.get("%pmpp", 100.0),
    }  # fmt: skip
    order = [key for key in thing.values if key in ("pf", "kvar")]
    if order and order[-1] == "kvar":
        parameters["kvar"] = thing.get("kvar")
    else:
        parameters["pf"] = thing.get("pf", 1.0)
    for name, field in (("effcurve", "efficiency_curve"), ("p-tcurve", "temperature_curve")):
        if name in thing:
            parameters[field] = _points(thing.get(name))
    for id_, label, where, share, _ in _placed(thing, bases):
        if share != 1:
            raise UnrepresentedError("has two phases; the graph has one or three")
        yield id_, "PVSystem", label, where | parameters


def _points(curve: Mapping[str, Any]) -> list[list[float]]:
    xs, ys = list(curve.get("xarray", ())), list(curve.get("yarray", ()))
    if "points" in curve:
        flat = list(curve["points"])
        xs, ys = flat[::2], flat[1::2]
    count = min(len(xs), len(ys), curve.get("npts", len(xs)))
    if any(curve.get(key) for key in ("xshift", "yshift")) or count < 2:
        raise UnrepresentedError("has a curve with a shift, or with fewer than two points")
    scale_x, scale_y = curve.get("xscale", 1.0), curve.get("yscale", 1.0)
    return [[x * scale_x, y * scale_y] for x, y in zip(xs[:count], ys[:count], strict=True)]


def _storage(thing: Thing, circuit: Circuit, bases: Bases) -> Iterator[Made]:
    if thing.get("model", 1) != 1:
        raise UnrepresentedError(f"has model {thing.get('model')}; the graph has 1")
    kw, rated = _storage_kw(thing)
    full, stored = thing.get("kwhrated", 50.0), _stored(thing)
    for id_, label, where, share, _ in _placed(thing, bases):
        yield id_, "Storage", label, {
            **where, "p_mw": -share * kw / 1e3, "q_mvar": -share * _storage_kvar(thing, kw) / 1e3,
            "max_e_mwh": full / 1e3, "soc_percent": min(max(stored, 0.0), 100.0),
            "sn_mva": thing.get("kva", rated) / 1e3,
        }  # fmt: skip


def _stored(thing: Thing) -> float:
    if "kwhstored" in thing:
        return 100 * float(thing.get("kwhstored")) / (thing.get("kwhrated", 50.0) or 1.0)
    return float(thing.get("%stored", 100.0))


def _storage_kw(thing: Thing) -> tuple[float, float]:
    """kW delivered in its state, idling losses included; and its rating.

    One that is full does not charge, one at its reserve does not discharge: they idle.
    """
    rated = float(thing.get("kwrated", 25.0))
    kw, state = 0.0, "i"
    for name, value in thing.values.items():
        if name == "kw":
            kw, state = abs(value), "d" if value > 0 else "c" if value < 0 else "i"
        elif name == "state":
            state = str(value)[:1]
    if "kw" not in thing:
        kw = rated * thing.get("%discharge" if state == "d" else "%charge", 100.0) / 100
    full = state == "c" and _stored(thing) >= 100
    empty = state == "d" and _stored(thing) <= thing.get("%reserve", 20.0)
    if state == "i" or full or empty:
        return -rated * thing.get("%idlingkw", 1.0) / 100, rated
    return (1 if state == "d" else -1) * kw, rated


def _storage_kvar(thing: Thing, kw: float) -> float:
    if "kvar" in thing:
        return float(thing.get("kvar"))
    pf = thing.get("pf", 1.0)
    if not 0 < abs(pf) <= 1:
        raise UnrepresentedError("needs a pf from -1 to 1, other than 0")
    return math.copysign(abs(kw) * math.sqrt(1 / pf**2 - 1), pf)


_Translation = Callable[[Thing, Circuit, Bases], Iterator[Made]]
_TRANSLATIONS: Mapping[str, _Translation] = MappingProxyType(
    {
        "vsource": _source,
        "line": _line,
        "transformer": _transformer,
        "reactor": _reactor,
        "capacitor": _capacitor,
        "load": _load,
        "generator": _generator,
        "pvsystem": _pv_system,
        "storage": _storage,
    }
)
