"""What feeds a short circuit by IEC 60909-0: every source with its impedance and its factors.

A source is an impedance to earth, because the method puts the driving voltage at the fault; a full
converter is a current. Impedances are in ohms at the nominal voltage of the source's own bus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim import iec60909 as iec
from electrisim.elements import Element
from electrisim.network import Array, Network, Rows, fault
from electrisim.problems import Problem
from electrisim.topology import Topology

#: Nothing gives the pole pairs of a machine but its plate. Most motors have four poles; large
#: high-voltage ones have two, as in the example of IEC TR 60909-4 (2 MW and 5 MW).
USUAL_POLE_PAIRS, FEW_POLES_ABOVE_MW = 2, 2.0


class Source(NamedTuple):
    """The sources of one kind and sort, as columns.

    kind        whose elements they are; row are their rows, bus the rows of their buses
    z_ohm       positive-sequence impedance with its factor; infinite for a current
    z_peak_ohm  the same with the resistance that the peak current sees
    z0_ohm      zero-sequence impedance to earth; infinite where there is no way
    rated_ka    rated current
    decrement   how its current decays: "" not, "mu" a synchronous, "mu q" an asynchronous machine
    power_mw    rated active power per pole pair
    current_ka  of a full converter
    kappa       where the maker gives the peak factor; NaN elsewhere
    inside_ohm  impedance for a fault between a unit's generator and its transformer; NaN elsewhere
    factors     name of a factor → value per element; NaN where it has none
    """

    kind: type[Element]
    row: Array
    bus: Array
    z_ohm: Array
    z_peak_ohm: Array
    z0_ohm: Array
    rated_ka: Array
    decrement: str
    power_mw: Array
    current_ka: Array
    kappa: Array
    inside_ohm: Array
    factors: Mapping[str, Array]


class Unit(NamedTuple):
    """A power-station unit: a generator, its transformer, and the factor of the transformer."""

    generator: int
    transformer: int
    k_s: float


class Case(NamedTuple):
    """Which currents are asked for.

    case            "max" or "min"
    lv_tol_percent  tolerance of low voltages, 6 or 10
    """

    case: str
    lv_tol_percent: float

    def factor(self, vn_kv: Array) -> Array:
        return iec.voltage_factor(vn_kv, self.case, self.lv_tol_percent)

    def c_max(self, vn_kv: Array) -> Array:
        return iec.voltage_factor(vn_kv, "max", self.lv_tol_percent)


# -- what must be known ----------------------------------------------------------------------------


def faults(
    network: Network, topology: Topology, case: str, zero: bool, factors: bool
) -> Iterator[Problem]:
    """A problem per number that a source needs and lacks.

    zero     whether the zero sequence matters
    factors  whether the standard's factors apply, and converters count
    """
    for kind, names in needed(case, zero, factors).items():
        rows = network.rows(kind)
        alive = topology.alive(kind)
        for name in names:
            for row in np.flatnonzero(np.isnan(rows.column(name)) & alive).tolist():
                yield _missing(rows, row, name)
    if case == "max":
        yield from _static_faults(network.rows(e.StaticGenerator), topology, factors)


def needed(case: str, zero: bool, factors: bool) -> Mapping[type[Element], tuple[str, ...]]:
    """Kind → the fields that its elements cannot do without."""
    grid = (f"s_sc_{case}_mva", f"rx_{case}")
    found: dict[type[Element], tuple[str, ...]] = {
        e.ExternalGrid: (*grid, f"x0x_{case}", f"r0x0_{case}") if zero else grid,
        e.Generator: ("vn_kv", "sn_mva", "xdss_pu", "rdss_ohm", *(("cos_phi",) if factors else ())),
    }
    if case == "max":
        found[e.Motor] = ("vn_kv", "lrc_pu", "rx", "cos_phi_n", "efficiency_n_percent")
    return found


#: What stands behind a static generator → what must be known of it.
_STATIC: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "current_source": ("sn_mva", "k"),
        "async": ("sn_mva", "lrc_pu", "rx"),
        "async_doubly_fed": ("max_ik_ka", "kappa", "rx"),
    }
)


def sort_of(static_generator: e.StaticGenerator) -> str | None:
    """What stands behind a static generator; None where it does not feed a short circuit."""
    if static_generator.generator_type is not None:
        return static_generator.generator_type
    return "current_source" if static_generator.current_source else None


def _static_faults(rows: Rows, topology: Topology, factors: bool) -> Iterator[Problem]:
    alive = topology.alive(e.StaticGenerator)
    for row, element in enumerate(rows.elements):
        sort = sort_of(element) or ""
        counts = alive[row] and (factors or sort != "current_source")
        for name in _STATIC.get(sort, ()) if counts else ():
            if getattr(element, name) is None:
                yield _missing(rows, row, name)


def _missing(rows: Rows, row: int, name: str) -> Problem:
    meaning = e.FIELDS[rows.kind][name].meaning.rstrip(".")
    text = f"needs {name} for a short circuit: {meaning}"
    return fault(rows, row, name, "missing-parameter", text)


# -- the sources -----------------------------------------------------------------------------------


def sources(network: Network, topology: Topology, case: Case) -> tuple[list[Source], list[Unit]]:
    """All sources that are alive, and the power-station units among them."""
    generators, units = _generators(network, topology, case)
    found = [_grids(network, topology, case), generators]
    if case.case == "max":
        found += [_motors(network, topology), *_static(network, topology)]
    return [source for source in found if len(source.row)], units


def _source(network: Network, rows: Rows, row: Array, z_ohm: Array, **others: object) -> Source:
    """The columns of a source, those that say nothing at their neutral values."""
    nothing, endless = np.full(len(row), np.nan), np.full(len(row), np.inf + 0j)
    values: dict[str, object] = {
        "z_peak_ohm": z_ohm,
        "z0_ohm": endless,
        "rated_ka": nothing,
        "decrement": "",
        "power_mw": nothing,
        "current_ka": np.zeros(len(row)),
        "kappa": nothing,
        "inside_ohm": nothing + 0j,
        "factors": {},
    }
    return Source(rows.kind, row, rows.at["bus"][row], z_ohm, **{**values, **others})  # type: ignore[arg-type]


def _vn_kv(network: Network, rows: Rows, row: Array) -> Array:
    return network.rows(e.Bus).column("vn_kv")[rows.at["bus"][row]]


def _living(network: Network, topology: Topology, kind: type[Element]) -> tuple[Rows, Array]:
    return network.rows(kind), np.flatnonzero(topology.alive(kind))


def _empty(network: Network, kind: type[Element]) -> Source:
    rows = Rows(kind)
    rows.at["bus"] = np.zeros(0, dtype=np.int64)
    return _source(network, rows, rows.at["bus"], np.zeros(0, dtype=complex))


def _along(z_ohm: Array, r_over_x: Array) -> Array:
    """An impedance of this magnitude and R/X."""
    return np.asarray(z_ohm * (r_over_x + 1j) / np.hypot(r_over_x, 1))


def _grids(network: Network, topology: Topology, case: Case) -> Source:
    rows, row = _living(network, topology, e.ExternalGrid)
    if not len(row):
        return _empty(network, e.ExternalGrid)
    vn_kv = _vn_kv(network, rows, row)
    c = case.factor(vn_kv)
    s_sc_mva, rx, x0x, r0x0 = (
        rows.column(name)[row]
        for name in (f"s_sc_{case.case}_mva", f"rx_{case.case}", f"x0x_{case.case}",
                     f"r0x0_{case.case}")
    )  # fmt: skip
    z_ohm = _along(c * vn_kv**2 / s_sc_mva, rx)
    x0_ohm = x0x * z_ohm.imag
    return _source(
        network, rows, row, z_ohm, z0_ohm=x0_ohm * (r0x0 + 1j), factors={"c": c}
    )  # fmt: skip


def _generators(network: Network, topology: Topology, case: Case) -> tuple[Source, list[Unit]]:
    rows, row = _living(network, topology, e.Generator)
    if not len(row):
        return _empty(network, e.Generator), []
    vn_bus_kv = _vn_kv(network, rows, row)
    vn_kv, sn_mva, xdss_pu, rdss_ohm, cos_phi = (
        rows.column(name)[row] for name in ("vn_kv", "sn_mva", "xdss_pu", "rdss_ohm", "cos_phi")
    )
    p_g = np.nan_to_num(rows.column("pg_percent")[row]) / 100
    sin_phi = np.sqrt(np.clip(1 - cos_phi**2, 0, None))
    c = case.c_max(vn_bus_kv)
    x_ohm = xdss_pu * vn_kv**2 / sn_mva
    k = np.asarray(iec.k_g(vn_bus_kv, vn_kv, p_g, c, xdss_pu, sin_phi))
    k_s, k_so, inside = (np.full(len(row), np.nan) for _ in range(3))
    units = []
    transformers = network.rows(e.Transformer)
    unit_of = rows.at["power_station_trafo"][row]
    for i in np.flatnonzero(unit_of >= 0).tolist():
        trafo = transformers.elements[unit_of[i]]
        if not topology.alive(e.Transformer)[unit_of[i]]:
            continue
        behind_kv = network.rows(e.Bus).column("vn_kv")[transformers.at["hv_bus"][unit_of[i]]]
        ratio = trafo.vn_lv_kv / trafo.vn_hv_kv
        if trafo.oltc:
            x_pu = np.sqrt(trafo.vk_percent**2 - trafo.vkr_percent**2) / 100
            k_s[i] = iec.k_s(behind_kv, vn_kv[i], ratio, c[i], xdss_pu[i], x_pu, sin_phi[i])
        else:
            p_t = (trafo.pt_percent or 0.0) / 100
            k_so[i] = iec.k_so(
                behind_kv, vn_kv[i], p_g[i], ratio, p_t, c[i], xdss_pu[i], sin_phi[i]
            )
        inside[i] = iec.k_g_of_unit(bool(trafo.oltc), p_g[i], c[i], xdss_pu[i], sin_phi[i])
        k[i] = k_s[i] if trafo.oltc else k_so[i]
        units.append(Unit(i, int(unit_of[i]), float(k[i])))
    z_ohm = rdss_ohm + 1j * x_ohm
    in_unit = ~np.isnan(inside)
    source = _source(
        network, rows, row, k * z_ohm,
        z_peak_ohm=k * x_ohm * (iec.fictitious_r_over_x(vn_kv, sn_mva) + 1j),
        rated_ka=sn_mva / (np.sqrt(3) * vn_kv),
        decrement="mu",
        inside_ohm=inside * z_ohm,
        factors={
            "k_g": np.where(in_unit, inside, k), "k_s": k_s, "k_so": k_so,
        },
    )  # fmt: skip
    return source, units


def _motors(network: Network, topology: Topology) -> Source:
    rows, row = _living(network, topology, e.Motor)
    if not len(row):
        return _empty(network, e.Motor)
    p_mw, efficiency, cos_phi, vn_kv, lrc_pu, rx = (
        rows.column(name)[row]
        for name in ("pn_mech_mw", "efficiency_n_percent", "cos_phi_n", "vn_kv", "lrc_pu", "rx")
    )
    works = p_mw > 0
    row, vn_kv, lrc_pu, rx = row[works], vn_kv[works], lrc_pu[works], rx[works]
    s_mva = (p_mw / (efficiency / 100 * cos_phi))[works]
    return _asynchronous(
        network, rows, row, vn_kv**2 / (lrc_pu * s_mva), rx, s_mva, vn_kv,
        p_mw[works] / pole_pairs(rows, row, p_mw[works]),
    )  # fmt: skip


def _asynchronous(
    network: Network, rows: Rows, row: Array, z_ohm: Array, rx: Array, s_mva: Array,
    vn_kv: Array, power_mw: Array,
) -> Source:  # fmt: skip
    return _source(
        network, rows, row, _along(z_ohm, rx),
        rated_ka=s_mva / (np.sqrt(3) * vn_kv), decrement="mu q", power_mw=power_mw,
    )  # fmt: skip


def pole_pairs(rows: Rows, row: Array, p_mw: Array) -> Array:
    """The pole pairs that are given, or the usual ones of a machine of this power."""
    usual = np.where(p_mw > FEW_POLES_ABOVE_MW, 1, USUAL_POLE_PAIRS)
    given = rows.column("pole_pairs")[row]
    return np.where(np.isnan(given), usual, given)


def _static(network: Network, topology: Topology) -> Sequence[Source]:
    rows, row = _living(network, topology, e.StaticGenerator)
    sorts = np.array([sort_of(rows.elements[r]) or "" for r in row.tolist()], dtype=object)
    return [make(network, rows, row[sorts == sort]) for sort, make in _MAKERS.items()]


def _converters(network: Network, rows: Rows, row: Array) -> Source:
    if not len(row):
        return _empty(network, e.StaticGenerator)
    vn_kv = _vn_kv(network, rows, row)
    rated_ka = rows.column("sn_mva")[row] / (np.sqrt(3) * vn_kv)
    return _source(
        network, rows, row, np.full(len(row), np.inf + 0j), rated_ka=rated_ka,
        current_ka=rows.column("k")[row] * rated_ka,
    )  # fmt: skip


def _induction_generators(network: Network, rows: Rows, row: Array) -> Source:
    if not len(row):
        return _empty(network, e.StaticGenerator)
    vn_kv = _vn_kv(network, rows, row)
    s_mva, lrc_pu, rx = (rows.column(name)[row] for name in ("sn_mva", "lrc_pu", "rx"))
    return _asynchronous(
        network, rows, row, vn_kv**2 / (lrc_pu * s_mva), rx, s_mva, vn_kv,
        s_mva / pole_pairs(rows, row, s_mva),
    )  # fmt: skip


def _doubly_fed(network: Network, rows: Rows, row: Array) -> Source:
    """Z_WD follows from the largest instantaneous current and its peak factor."""
    if not len(row):
        return _empty(network, e.StaticGenerator)
    vn_kv = _vn_kv(network, rows, row)
    largest_ka, kappa, rx = (rows.column(name)[row] for name in ("max_ik_ka", "kappa", "rx"))
    z_ohm = np.sqrt(2) * kappa * vn_kv / (np.sqrt(3) * largest_ka)
    return _source(network, rows, row, _along(z_ohm, rx), kappa=kappa)


_Maker = Callable[[Network, Rows, Array], Source]
_MAKERS: Mapping[str, _Maker] = MappingProxyType(
    {
        "current_source": _converters,
        "async": _induction_generators,
        "async_doubly_fed": _doubly_fed,
    }
)
