"""Numbers that are far from what they are elsewhere: the slip of a unit, a decimal point, a sign.

Each measure is a quantity of a kind with the range in which it lies in real networks. Where there
are enough others of the kind at the voltage level, an element is compared with them, because
equivalents and test cases have their own ways; where there are not, with the range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.doctor.case import ADMITTANCES, Case, Edit, Repair, Suspect
from electrisim.elements import FIELDS, Element
from electrisim.network import Array, Rows

#: Upper ends of the voltage classes low, medium and high [kV]; above is extra-high voltage.
CLASSES = (1.0, 36.0, 150.0)
#: Of so many others an element can be an outlier.
OTHERS = 4
#: No set of others is narrower than this [decades].
NARROWEST = 0.3
#: No range is wider than this share of its upper end.
WIDEST = 1e-6
#: Taking back a slip in all of a kind puts nearly all inside, and half of them well inside [1].
NEARLY_ALL, WELL_INSIDE = 0.9, 0.75
#: Outliers of less than this are none, unless the element takes part in the collapse [decades].
OUTLYING, TAKING_PART = 0.4, 0.25
#: What a value counts that is off in the direction that does no harm, and one of an element that
#: takes no part in the collapse.
HARMLESS, ASIDE = 0.3, 0.4
#: Several fields that are off together are likelier one slip than one of them, and a quantity that
#: is a product of others says less than they do [decades].
TOGETHER, DERIVED = 0.5, -1.0


class Slip(NamedTuple):
    """A factor that undoes a common mistake. None: the element's own length."""

    factor: float | None
    why: str


POINT = (Slip(0.1, "a decimal point"), Slip(0.01, "two decimal places"))
BACK = (Slip(10.0, "a decimal point"), Slip(100.0, "two decimal places"))
KILO = (Slip(1e-3, "kW or kvar given as MW or Mvar"), Slip(1e-6, "W or var given as MW or Mvar"))
SIGN = (Slip(-1.0, "the sign"),)


class Measure(NamedTuple):
    """A quantity of a kind.

    of       its value per element; NaN where it does not apply
    range    least and largest usual value in each voltage class
    fields   what a slip multiplies, where they are not 0
    bonus    what it counts more than others that are as far off [decades]
    harm     1 where too much of it does harm, -1 where too little does
    """

    kind: type[Element]
    name: str
    unit: str
    of: Callable[[Case, Rows], Array]
    range: tuple[tuple[float, float], ...]
    fields: tuple[str, ...]
    slips: tuple[Slip, ...]
    bonus: float = 0.0
    harm: int = 1

    @property
    def alike(self) -> bool:
        """Whether elements of all voltages are compared: the quantity has no unit."""
        return self.unit in ("1", "%")


def _field(name: str) -> Callable[[Case, Rows], Array]:
    def of(case: Case, rows: Rows) -> Array:
        return np.abs(rows.column(name))

    return of


def _together(*names: str) -> Callable[[Case, Rows], Array]:
    """The geometric mean of those that are not 0: far off only where all of them are."""

    def of(case: Case, rows: Rows) -> Array:
        values = np.abs(np.nan_to_num([rows.column(name) for name in names]))
        some = values > 0
        logs = np.log10(np.where(some, values, 1.0)).sum(axis=0) / np.maximum(some.sum(axis=0), 1)
        return np.asarray(np.where(some.any(axis=0), 10**logs, 0.0))

    return of


def _series(case: Case, rows: Rows) -> Array:
    """Series impedance of lines, all of it [Ω]."""
    z = np.hypot(rows.column("r_ohm_per_km"), rows.column("x_ohm_per_km"))
    return np.asarray(z * rows.column("length_km") / rows.column("parallel"))


def _charging(case: Case, rows: Rows) -> Array:
    """Charging power of lines, all of it [Mvar]."""
    farad = 1e-9 * rows.column("c_nf_per_km") * rows.column("length_km") * rows.column("parallel")
    omega = 2 * np.pi * case.network.frequency_hz
    return np.asarray(np.abs(omega * farad * case.kv(rows, "from_bus") ** 2))


def _of_own_rating(case: Case, rows: Rows) -> Array:
    """Short-circuit impedance of transformers at their high-voltage bus, of kV²/MVA [1e-3]."""
    return np.abs(rows.column("vk_percent") / rows.column("sn_mva") / rows.column("parallel"))


def _pu(case: Case, rows: Rows) -> Array:
    z = np.hypot(rows.column("rft_pu"), rows.column("xft_pu"))
    return np.asarray(z / rows.column("sn_mva"))


def _iron(case: Case, rows: Rows) -> Array:
    return np.abs(rows.column("pfe_kw") / rows.column("sn_mva"))


def _alike(least: float, largest: float) -> tuple[tuple[float, float], ...]:
    return ((least, largest),) * 4


_LENGTHS = ((1e-3, 5.0), (1e-3, 150.0), (0.01, 500.0), (0.01, 1500.0))
_OHMS = ((1e-5, 3.0), (1e-4, 80.0), (1e-3, 250.0), (1e-3, 500.0))
_RATINGS = ((1e-3, 5.0), (0.01, 150.0), (0.5, 1200.0), (5.0, 5000.0))
_POWERS = ((1e-6, 1.0), (1e-5, 40.0), (1e-4, 800.0), (1e-4, 5000.0))
_ARRAYS = ((1e-3, 1e3), (1e-2, 4e4), (0.1, 8e5), (0.1, 5e6))
_METRES = (Slip(1e-3, "metres given as kilometres"), *POINT)
_WHOLE = Slip(None, "the ohms of the whole line given as Ω/km")
_OHM_SLIPS = (_WHOLE, Slip(1e-3, "mΩ given as Ω"), *POINT, *BACK, Slip(1e3, "kΩ given as Ω"))
_NANO = (Slip(1e-3, "pF given as nF"), Slip(1e-6, "µF or F taken for nF"), *POINT)
_PERCENT = (Slip(0.01, "tenths of a per mille given as percent"), *POINT)

LINE_MEASURES = (
    Measure(e.Line, "length", "km", _field("length_km"), _LENGTHS, ("length_km",), _METRES),
    Measure(
        e.Line, "impedance per kilometre", "Ω/km", _together("r_ohm_per_km", "x_ohm_per_km"),
        _alike(0.01, 3.0), ("r_ohm_per_km", "x_ohm_per_km"), _OHM_SLIPS, TOGETHER,
    ),
    Measure(e.Line, "reactance per kilometre", "Ω/km", _field("x_ohm_per_km"), _alike(0.02, 1.0),
            ("x_ohm_per_km",), _OHM_SLIPS),
    Measure(e.Line, "resistance per kilometre", "Ω/km", _field("r_ohm_per_km"), _alike(5e-4, 4.0),
            ("r_ohm_per_km",), _OHM_SLIPS),
    Measure(e.Line, "series impedance", "Ω", _series, _OHMS, ("length_km",), _METRES, DERIVED),
    Measure(e.Line, "capacitance per kilometre", "nF/km", _field("c_nf_per_km"),
            _alike(0.1, 1500.0), ("c_nf_per_km",), _NANO),
    Measure(e.Line, "charging power", "Mvar", _charging,
            ((0.0, 0.05), (0.0, 10.0), (0.0, 150.0), (0.0, 1500.0)), ("c_nf_per_km",), _NANO,
            DERIVED),
)  # fmt: skip
_VK3, _VKR3, _SN3 = (
    tuple(name.format(side) for side in ("hv", "mv", "lv"))
    for name in ("vk_{}_percent", "vkr_{}_percent", "sn_{}_mva")
)
TRANSFORMER_MEASURES = (
    Measure(e.ThreeWindingTransformer, "short-circuit voltages", "%", _together(*_VK3),
            _alike(1.0, 60.0), (*_VK3, *_VKR3), (*POINT, *BACK), TOGETHER),
    Measure(e.ThreeWindingTransformer, "rated powers", "MVA", _together(*_SN3),
            _alike(0.2, 2000.0), _SN3,
            (Slip(1e3, "GVA given as MVA"), Slip(1e-3, "kVA given as MVA"), *BACK, *POINT),
            TOGETHER, -1),
    Measure(e.Transformer, "short-circuit voltage", "%", _field("vk_percent"), _alike(1.0, 35.0),
            ("vk_percent", "vkr_percent"), (*POINT, *BACK)),
    Measure(e.Transformer, "rated power", "MVA", _field("sn_mva"), _RATINGS, ("sn_mva",),
            (Slip(1e3, "GVA given as MVA"), Slip(1e-3, "kVA given as MVA"), *BACK, *POINT), 0, -1),
    Measure(e.Transformer, "short-circuit voltage per rating", "%/MVA", _of_own_rating,
            ((0.5, 500.0), (0.02, 400.0), (0.01, 5.0), (0.002, 1.0)), ("vk_percent", "vkr_percent"),
            (*POINT, *BACK), DERIVED),
    Measure(e.Transformer, "no-load current", "%", _field("i0_percent"), _alike(1e-3, 8.0),
            ("i0_percent",), _PERCENT),
    Measure(e.Transformer, "iron losses per rating", "kW/MVA", _iron, _alike(0.01, 10.0),
            ("pfe_kw",), (Slip(1e-3, "W given as kW"), *POINT)),
    *(
        Measure(e.ThreeWindingTransformer, f"short-circuit voltage ({side})", "%",
                _field(f"vk_{side}_percent"), _alike(1.0, 60.0),
                (f"vk_{side}_percent", f"vkr_{side}_percent"), (*POINT, *BACK))
        for side in ("hv", "mv", "lv")
    ),
    *(
        Measure(e.ThreeWindingTransformer, f"rated power ({side})", "MVA",
                _field(f"sn_{side}_mva"), _alike(0.2, 2000.0), (f"sn_{side}_mva",),
                (Slip(1e3, "GVA given as MVA"), Slip(1e-3, "kVA given as MVA"), *BACK, *POINT),
                0, -1)
        for side in ("hv", "mv", "lv")
    ),
    Measure(e.Impedance, "impedance", "pu of 1 MVA", _pu, _alike(1e-6, 0.2), ("rft_pu", "xft_pu"),
            (Slip(0.01, "percent given as per unit"), Slip(1e-3, "three decimal places"),
             Slip(0.1, "a decimal point"), *BACK)),
    Measure(e.Impedance, "base", "MVA", _field("sn_mva"), _alike(0.5, 2000.0), ("sn_mva",),
            (Slip(1e3, "GVA given as MVA"), *BACK, *POINT), 0, -1),
)  # fmt: skip
_PHASES_P, _PHASES_Q = (
    ("p_a_mw", "p_b_mw", "p_c_mw"), ("q_a_mvar", "q_b_mvar", "q_c_mvar"),
)  # fmt: skip
_SCALING = (Slip(0.01, "percent given as a factor"), Slip(1e-3, "three decimal places"))


def _powers(kind: type[Element], p: str, q: str, name: str = "power") -> tuple[Measure, ...]:
    slips = (*KILO, *POINT, *SIGN)
    return (
        Measure(kind, name, "MVA", _together(p, q), _POWERS, (p, q), slips, TOGETHER),
        Measure(kind, f"active {name}", "MW", _field(p), _POWERS, (p,), slips),
        Measure(kind, f"reactive {name}", "Mvar", _field(q), _POWERS, (q,), slips),
    )


def _scaling(kind: type[Element]) -> Measure:
    return Measure(
        kind, "scaling", "1", _field("scaling"), _alike(0.05, 3.0), ("scaling",), _SCALING
    )


POWER_MEASURES = (
    *_powers(e.Load, "p_mw", "q_mvar"), _scaling(e.Load),
    *_powers(e.StaticGenerator, "p_mw", "q_mvar"), _scaling(e.StaticGenerator),
    *_powers(e.Storage, "p_mw", "q_mvar"), _scaling(e.Storage),
    Measure(e.Generator, "active power", "MW", _field("p_mw"), _POWERS, ("p_mw",),
            (*KILO, *POINT, *SIGN)), _scaling(e.Generator),
    Measure(e.AsymmetricLoad, "power", "MVA", _together(*_PHASES_P, *_PHASES_Q), _POWERS,
            (*_PHASES_P, *_PHASES_Q), (*KILO, *POINT)), _scaling(e.AsymmetricLoad),
    Measure(e.AsymmetricStaticGenerator, "power", "MVA", _together(*_PHASES_P, *_PHASES_Q), _POWERS,
            (*_PHASES_P, *_PHASES_Q), (*KILO, *POINT)), _scaling(e.AsymmetricStaticGenerator),
    Measure(e.Motor, "mechanical power", "MW", _field("pn_mech_mw"), _POWERS, ("pn_mech_mw",),
            (*KILO, *POINT)), _scaling(e.Motor),
    Measure(e.PVSystem, "array power", "kW", _field("pmpp_kw"), _ARRAYS,
            ("pmpp_kw", "kva"), (Slip(1e-3, "W given as kW"), *POINT)),
    Measure(e.DCLine, "power", "MW", _field("p_mw"), _POWERS, ("p_mw",), (*KILO, *POINT, *SIGN)),
    *_powers(e.Ward, "ps_mw", "qs_mvar", "constant power"),
    *_powers(e.Ward, "pz_mw", "qz_mvar", "admittance power"),
    *_powers(e.ExtendedWard, "ps_mw", "qs_mvar", "constant power"),
    *_powers(e.ExtendedWard, "pz_mw", "qz_mvar", "admittance power"),
    *(measure for kind in (e.Shunt, e.ShuntReactor, e.Capacitor)
      for measure in _powers(kind, "p_mw", "q_mvar")),
)  # fmt: skip

MEASURES: tuple[Measure, ...] = (*LINE_MEASURES, *TRANSFORMER_MEASURES, *POWER_MEASURES)


def find(case: Case) -> Iterator[Suspect]:
    """Values far from those of the others of their kind, or from what is usual."""
    for measure in MEASURES:
        rows = case.network.rows(measure.kind)
        if not len(rows):
            continue
        judged = _Judged(case, measure, rows)
        yield from judged.outliers()
        yield from judged.all_of_them()


class _Judged:
    """A measure of the elements of its kind.

    decades  by how much each is outside of what is usual; signed, 0 inside
    """

    def __init__(self, case: Case, measure: Measure, rows: Rows) -> None:
        self.case, self.measure, self.rows = case, measure, rows
        with np.errstate(all="ignore"):
            value = measure.of(case, rows)
            self.log = np.where(value > 0, np.log10(value), np.nan)
        self.value = value
        self.works = case.topology.alive(rows.kind) & np.isfinite(self.log)
        first = rows.kind.ports[0].bus
        self.level = np.searchsorted(CLASSES, case.kv(rows, first))
        least, largest = np.array(measure.range).T
        self.largest = np.log10(largest[self.level])
        self.least = np.log10(np.maximum(least, WIDEST * largest))[self.level]
        self.compared = np.zeros(len(rows), dtype=bool)
        self.centre, self.half = self._usual()
        beyond = self.log - self.centre
        self.decades = np.sign(beyond) * np.maximum(np.abs(beyond) - self.half, 0)
        self.part = self._part()

    def _usual(self) -> tuple[Array, Array]:
        """Centre and half width of what is usual for each [decades]."""
        centre, half = (self.least + self.largest) / 2, (self.largest - self.least) / 2
        level = 0 * self.level if self.measure.alike else self.level
        for each in np.unique(level[self.works]):
            mates = np.flatnonzero(self.works & (level == each))
            if len(mates) <= OTHERS:
                continue
            log = self.log[mates]
            middle = np.median(log)
            # The nine nearest in ten, so that a few outliers do not make the rest wide.
            width = max(NARROWEST, float(np.quantile(np.abs(log - middle), 0.9)))
            centre[mates], half[mates] = middle, width
            self.compared[mates] = True
        return centre, half

    def _part(self) -> Array:
        """How much each takes part in what collapses, 0 to 1."""
        kind, case = self.rows.kind, self.case
        if case.newton is None:
            return np.ones(len(self.rows))
        if kind in ADMITTANCES:
            share = np.abs(case.power_mva(kind)) / max(case.drawn_mva, 1e-300)
            return np.asarray(np.minimum(share, 1.0))
        if len(kind.ports) == 1:
            return case.takes_part(kind) * (not case.ill_at_rest)
        stress = case.stress
        return np.array([min(stress.get((kind, k), 0.0), 1.0) for k in range(len(self.rows))])

    def outliers(self) -> Iterator[Suspect]:
        far = np.abs(self.decades)
        implicated = self.compared & (self.part > TAKING_PART)
        wanted = self.works & ((far > OUTLYING) | implicated)
        for row in np.flatnonzero(wanted).tolist():
            suspect = self._suspect(row)
            if suspect is not None:
                yield suspect

    def _suspect(self, row: int) -> Suspect | None:
        log, centre, half = (float(a[row]) for a in (self.log, self.centre, self.half))
        repairs = tuple(self._repairs([row], log, centre, half))
        if not repairs:
            return None
        measure, label = self.measure, self.rows.label(row)
        value, far = float(self.value[row]), float(self.decades[row])
        over = self.log[row] > self.centre[row]
        if self.compared[row]:
            usual, whose = (
                10 ** float(self.centre[row]),
                "that of the others at this voltage is about",
            )
        else:
            usual = 10 ** float((self.largest if over else self.least)[row])
            whose = f"at this voltage it rarely is {'above' if over else 'below'}"
        unit = "" if measure.unit == "1" else f" {measure.unit}"
        cause = f"{label}: its {measure.name} is {value:.4g}{unit}; {whose} {usual:.3g}{unit}."
        evidence = {
            "quantity": measure.name, "value": value, "usual": usual, "unit": measure.unit,
            "takes_part": float(self.part[row]),
        }  # fmt: skip
        harm = 1.0 if far * measure.harm > 0 else HARMLESS
        part = float(self.part[row])
        concerned = ASIDE + (1 - ASIDE) * min(1.0, 2 * part)
        score = abs(far) * harm * concerned + part + (measure.bonus if far else 0.0)
        return Suspect("value", (self.rows.ids[row],), cause, evidence, score, repairs)

    def _repairs(self, rows: list[int], log: float, centre: float, half: float) -> Iterator[Repair]:
        """The slips that bring the value nearer to what is usual, the nearest first."""
        found = []
        for slip in self.measure.slips:
            factor = slip.factor
            if factor is None:
                length = float(self.rows.column("length_km")[rows[0]])
                factor = 1 / length if length > 1 else None
            if factor is None:
                continue
            if factor < 0:
                if any(self.rows.column(self.measure.fields[0])[row] < 0 for row in rows):
                    found.append((1e-6, factor, slip.why))
                continue
            after = max(abs(log + np.log10(factor) - centre) - half, 0.0)
            if abs(log + np.log10(factor) - centre) < abs(log - centre):
                found.append((after, factor, slip.why))
        # The commonest of those that bring it back, else the nearest.
        found.sort(key=lambda each: each[0])
        for _, factor, why in found[:2]:
            yield Repair(tuple(self._edits(rows, factor)), why)
        alone = len(rows) == 1 and self.compared[rows[0]]
        if alone and abs(log - centre) > NARROWEST and len(self.measure.fields) <= 2:
            yield Repair(tuple(self._edits(rows, 10 ** (centre - log))), "the usual value")

    def _edits(self, rows: list[int], factor: float) -> Iterator[Edit]:
        for row in rows:
            for name in self.measure.fields:
                value = getattr(self.rows.elements[row], name)
                if value:
                    whole = FIELDS[self.rows.kind][name].type == "integer"
                    new = float(f"{value * factor:.12g}")
                    yield Edit(self.rows.ids[row], name, round(new) if whole else new)

    def all_of_them(self) -> Iterator[Suspect]:
        """Where most are outside of what is usual, and a slip of the unit brings nearly all in."""
        some = np.flatnonzero(self.works)
        beyond = (self.log - self.largest)[some]
        if len(some) < 2 or np.median(beyond) < OUTLYING:
            return
        centre, half = (self.least + self.largest) / 2, (self.largest - self.least) / 2
        measure, far = self.measure, float(np.median(beyond))
        for slip in measure.slips:
            if slip in (*POINT, *BACK, *SIGN) or slip.factor is None:
                continue
            after = (self.log + np.log10(slip.factor) - centre)[some]
            inside = np.mean(np.abs(after) <= half[some]) >= NEARLY_ALL
            if not inside or np.median(np.abs(after) / half[some]) > WELL_INSIDE:
                continue
            value, usual = (10 ** float(np.median(a[some])) for a in (self.log, self.largest))
            cause = (
                f"All {len(some)} elements of the kind {self.rows.kind.typ}: their {measure.name} "
                f"is about {value:.4g} {measure.unit}; it rarely is above {usual:.3g} "
                f"{measure.unit} at their voltage."
            )
            evidence = {
                "quantity": measure.name, "value": value, "usual": usual, "unit": measure.unit,
                "elements": len(some),
            }  # fmt: skip
            ids = tuple(self.rows.ids[row] for row in some.tolist())
            repair = Repair(tuple(self._edits(some.tolist(), slip.factor)), slip.why)
            score = far + measure.bonus
            yield Suspect("every-value", ids, cause, evidence, score, (repair,))
            return
