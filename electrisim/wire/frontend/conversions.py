"""What is no renaming between the browser's fields and the catalogue's: a function per kind.

Each function completes `values`, which holds the fields that were read under their catalogue names,
from the browser's entry. Odd values are told to `about`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from electrisim.fields import ABSENT, present
from electrisim.network import clock_numbers
from electrisim.problems import shorten
from electrisim.wire.frontend.report import About

Values = dict[str, Any]
Entry = Mapping[str, Any]


def number(value: Any) -> float | None:
    """A finite number, from a number or a text; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def flag(value: Any) -> bool | None:
    """A flag in any of the browser's spellings; None for everything else."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.strip().lower()) if _is_text(value) else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_on(entry: Entry, field: str) -> bool:
    return flag(entry.get(field)) is True


# -- consumers and sources -------------------------------------------------------------------------


def load(values: Values, entry: Entry, about: About) -> None:
    """The browser has one constant-impedance and one constant-current share, of P and Q alike."""
    for share in ("const_z", "const_i"):
        if f"{share}_p_percent" in values:
            values[f"{share}_q_percent"] = values[f"{share}_p_percent"]


def generator(values: Values, entry: Entry, about: About) -> None:
    """A number where a unit's transformer should be named names none."""
    if "xdss_pu" in about.report.beyond and number(entry.get("power_station_trafo")):
        about.note(
            f"power_station_trafo {shorten(entry['power_station_trafo'])} names no transformer; "
            "it was taken for a generator at the network"
        )


def static_generator(values: Values, entry: Entry, about: About) -> None:
    """A capability curve limits the reactive power at the active power that it delivers."""
    if not _is_on(entry, "reactive_capability_curve"):
        return
    points = _points(entry.get("q_capability_curve_json"), ("p_mw", "q_min_mvar", "q_max_mvar"))
    p_mw, q_mvar = number(values.get("p_mw")), number(values.get("q_mvar", 0))
    if p_mw is None or q_mvar is None:
        return
    if points is None:
        about.problem(
            "not-a-curve",
            "has a reactive capability curve that cannot be read; it needs points with p_mw, "
            "q_min_mvar and q_max_mvar",
            "q_capability_curve_json",
        )
        return
    stepped = entry.get("curve_style") == "constantYValue"
    lowest, highest = (_on_curve(points[:, 0], points[:, k], p_mw, stepped) for k in (1, 2))
    limited = min(max(q_mvar, lowest), highest)
    if limited != q_mvar:
        about.note(f"q_mvar {q_mvar:g} was limited to {limited:g} by its capability curve")
    values["q_mvar"] = limited


def _points(text: Any, names: Sequence[str]) -> Any:
    """Rows of finite numbers from a JSON text, by their first column; None where it has none."""
    try:
        rows = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    table = [[number(row.get(name)) for name in names] for row in rows]
    if not table or any(value is None for row in table for value in row):
        return None
    return np.array(sorted(table, key=lambda row: row[0] or 0.0))


def _on_curve(x: Any, y: Any, at: float, stepped: bool) -> float:
    if stepped:
        return float(y[max(int(np.searchsorted(x, at, side="right")) - 1, 0)])
    return float(np.interp(at, x, y))


def storage(values: Values, entry: Entry, about: About) -> None:
    """A battery acts as its power says; `state` is a word for that power's sign."""
    _three_phases(entry, about)
    _inverter_control(values, entry, about)
    state, p_mw = str(entry.get("state") or "").upper(), number(values.get("p_mw"))
    acts = {"CHARGING": p_mw is not None and p_mw > 0, "DISCHARGING": (p_mw or 0) < 0}
    if not acts.get(state, True):
        about.note(
            f"state {state} does not agree with p_mw {p_mw or 0:g} (charging is positive); "
            "p_mw was taken"
        )


#: The browser's word for an inverter's control → the catalogue's.
INVERTER_MODES: Mapping[str, str] = {
    "FIXED_Q": "constant_q",
    "FIXED_PF": "cosphi",
    "VOLTVAR": "qv",
    "WATTPF": "cosphi_p",
}
#: Volt-var of IEEE 1547-2018, category B, with its default settings (table 8).
_IEEE_1547 = [[0.92, 0.44], [0.98, 0.0], [1.02, 0.0], [1.08, -0.44]]


def _inverter_control(values: Values, entry: Entry, about: About) -> None:
    mode = present(entry.get("inv_control_mode"))
    if mode is ABSENT or str(mode).upper() == "NONE":
        return
    control = INVERTER_MODES.get(str(mode).upper())
    if control is None:
        known = ", ".join(["NONE", *INVERTER_MODES])
        text = f"has the inverter control {shorten(mode)}; it may be {known}"
        about.problem("unknown-value", text, "inv_control_mode")
    elif about.controls(f"the inverter control {shorten(mode)}"):
        values["q_control"] = control
        if control == "cosphi":
            values["cosphi"] = entry.get("pf")
        elif control == "cosphi_p":
            values["cosphi_p_curve"] = _curve(entry, "wattpf", about)
        elif control == "qv" and str(entry.get("vv_curve_preset")).upper() == "IEEE_1547":
            values["qv_curve"] = _IEEE_1547
        elif control == "qv":
            values["qv_curve"] = _curve(entry, "vv", about)


def _curve(entry: Entry, name: str, about: About) -> list[list[float]] | None:
    """Two texts of numbers with spaces between, x and y of a curve."""
    axes = [
        [number(word) for word in str(entry.get(f"{name}_{axis}array")).replace(",", " ").split()]
        for axis in "xy"
    ]
    points = [[x, y] for x, y in zip(*axes, strict=False) if x is not None and y is not None]
    if len(axes[0]) != len(axes[1]) or len(points) != len(axes[0]) or len(points) < 2:
        text = f"needs {name}_xarray and {name}_yarray of as many numbers each, two at least"
        about.problem("not-a-curve", text, f"{name}_xarray")
        return None
    return points


def pv_system(values: Values, entry: Entry, about: About) -> None:
    """The browser writes the inverter's thresholds as fractions; kvar wins over pf."""
    _three_phases(entry, about)
    for name in ("cutin_percent", "cutout_percent"):
        fraction = number(values.get(name))
        if fraction is not None:
            values[name] = 100 * fraction
    if "kvar" in values and number(values.get("pf", 1)) != 1:
        both = f"kvar {shorten(values['kvar'])} and pf {shorten(values['pf'])}"
        about.note(f"it has both {both}; kvar was taken")
    for field, usual in (("model", "1"), ("controlmode", "GFL")):
        value = present(entry.get(field))
        if value is not ABSENT and str(value).upper() != usual:
            about.problem(
                "unsupported",
                f"has {field} {shorten(value)}; only {usual} can be represented",
                field,
            )


def _three_phases(entry: Entry, about: About) -> None:
    phases = present(entry.get("phases"))
    if phases is not ABSENT and number(phases) != 3:
        about.problem(
            "unsupported",
            f"has {shorten(phases)} phases; only three-phase elements can be represented yet",
            "phases",
        )


# -- transformers ----------------------------------------------------------------------------------


def transformer(values: Values, entry: Entry, about: About) -> None:
    clocks = _vector_group(values, about, 1)
    _default_shift(values, "shift_degree", clocks[0] if clocks else None)
    _tap_changer(values, entry, about)


def three_winding_transformer(values: Values, entry: Entry, about: About) -> None:
    clocks = _vector_group(values, about, 2) or (None, None)
    for field, clock in zip(("shift_mv_degree", "shift_lv_degree"), clocks, strict=True):
        _default_shift(values, field, clock)
    _tap_changer(values, entry, about)


def _vector_group(values: Values, about: About, secondaries: int) -> Sequence[int | None] | None:
    """The clock numbers; a vector group that is none is reported and does not count."""
    group = values.get("vector_group")
    clocks = clock_numbers(group) if isinstance(group, str) else None
    if clocks is not None and len(clocks) == secondaries:
        return clocks
    if group is not None:
        about.ignored("vector_group", values.pop("vector_group"), "is no vector group of its kind")
    return None


def _default_shift(values: Values, field: str, clock: int | None) -> None:
    """The dialog's default shift of 0 beside a clock number says nothing."""
    if clock is not None and number(values.get(field)) == 0:
        del values[field]


def _tap_changer(values: Values, entry: Entry, about: About) -> None:
    """A phase shifter is the older word for an ideal tap changer."""
    if _is_on(entry, "tap_phase_shifter"):
        values["tap_changer_type"] = "Ideal"
    if _is_on(entry, "discrete_tap_control") and about.controls("a discrete tap controller"):
        _tap_control(values, entry, about)


def _tap_control(values: Values, entry: Entry, about: About) -> None:
    """The drawn band; where taps move without steps, its middle."""
    given = {name: present(entry.get(name)) for name in ("control_side", *_BAND)}
    values.update((name, value) for name, value in given.items() if value is not ABSENT)
    values["tap_control"] = "discrete"
    low, high = (number(given[name]) for name in _BAND)
    if about.report.continuous and low is not None and high is not None:
        for name in _BAND:
            del values[name]
        values |= {"tap_control": "continuous", "vm_set_pu": (low + high) / 2}


_BAND = ("vm_lower_pu", "vm_upper_pu")


# -- shunts and series elements --------------------------------------------------------------------


def shunt_reactor(values: Values, entry: Entry, about: About) -> None:
    """A table of steps tells the power of the present step; the catalogue's is per step."""
    if _is_on(entry, "line_flow_step_control"):
        if about.controls("a step controller by line flow"):
            _line_flow(values, entry, about)
    elif _is_on(entry, "discrete_shunt_control") and about.controls("a discrete step controller"):
        _voltage_steps(values, entry)
    if not _is_on(entry, "step_dependency_table"):
        return
    points = _points(entry.get("shunt_characteristic_table_json"), ("step", "p_mw", "q_mvar"))
    step = number(values.get("step", 1))
    row = None if points is None else next((row for row in points if row[0] == step), None)
    if row is None or (step == 0 and row[1:].any()):
        about.problem(
            "not-a-table",
            "takes its power from a table of steps, which cannot be read at step "
            f"{shorten(values.get('step', 1))}",
            "shunt_characteristic_table_json",
        )
        return
    values.update(p_mw=float(row[1]) / (step or 1), q_mvar=float(row[2]) / (step or 1))
    uneven = any(
        not math.isclose(each[k], each[0] * values[name], rel_tol=1e-9, abs_tol=1e-12)
        for each in points
        for k, name in ((1, "p_mw"), (2, "q_mvar"))
    )
    if "step_control" in values and uneven:
        about.problem(
            "unsupported",
            "has a controller and a table of steps of unequal power; steps that are controlled "
            "must be alike",
            "shunt_characteristic_table_json",
        )


def _voltage_steps(values: Values, entry: Entry) -> None:
    values["step_control"] = "voltage"
    for word, name in _STEP_CONTROL.items():
        value = present(entry.get(word))
        if value is not ABSENT:
            values[name] = value
    if _is_on(entry, "shunt_reset_at_init"):
        values["step"] = 0


_STEP_CONTROL = {
    "vm_set_pu": "vm_set_pu",
    "shunt_control_tol": "vm_tol_pu",
    "shunt_control_increment": "step_increment",
}


def _line_flow(values: Values, entry: Entry, about: About) -> None:
    """Bands of a line's power, each with its steps: the catalogue wants where each begins."""
    values["step_control"] = "line_flow"
    values["reference"] = entry.get("line_flow_reference_line_id")
    side = present(entry.get("line_flow_p_reference"))
    if side is not ABSENT:
        values["reference_column"] = side
    absolute = flag(entry.get("line_flow_p_use_abs"))
    values["reference_absolute"] = True if absolute is None else absolute
    bands = _points(entry.get("line_flow_step_table_json"), ("p_mw_min", "p_mw_max", "step"))
    if bands is None:
        about.problem(
            "not-a-table",
            "has a step control by line flow and no bands that can be read; each needs p_mw_min, "
            "p_mw_max and step",
            "line_flow_step_table_json",
        )
        return
    if (bands[1:, 0] > bands[:-1, 1]).any():
        about.note("between its bands of line flow the lower one goes on")
    table = [[start, step] for start, _, step in bands.tolist()]
    if len(table) == 1:
        # Below the first band its steps stay: one band is one number of steps.
        table.append([bands[0, 1] if bands[0, 1] > bands[0, 0] else bands[0, 0] + 1, bands[0, 2]])
    values["step_table"] = table


def capacitor(values: Values, entry: Entry, about: About) -> None:
    """The browser counts what a capacitor delivers, and its losses as tan δ of that."""
    q_mvar = number(values.get("q_mvar"))
    if q_mvar is None:
        return
    values["q_mvar"] = -q_mvar
    tan_delta = present(entry.get("loss_factor"))
    losses = 0.0 if tan_delta is ABSENT else number(tan_delta)
    if losses is None:
        about.ignored("loss_factor", tan_delta, "is not a number")
    values["p_mw"] = abs(q_mvar * (losses or 0.0))


def impedance(values: Values, entry: Entry, about: About) -> None:
    """One direction is enough: the other is like it."""
    for there, back in (("rft_pu", "rtf_pu"), ("xft_pu", "xtf_pu")):
        if there not in values and back in values:
            values[there] = values[back]


_ET = {
    "b": "b", "bus": "b", "l": "l", "line": "l", "t": "t", "trafo": "t", "transformer": "t",
    "t3": "t3", "trafo3w": "t3", "three winding transformer": "t3",
}  # fmt: skip


def switch(values: Values, entry: Entry, about: About) -> None:
    """What the switch's element is decides; `et` only says it once more."""
    told = values.pop("et", None)
    if told is not None and (not isinstance(told, str) or told.lower() not in _ET):
        about.ignored("et", told, "is not b, l, t or t3")
    elif told is not None:
        values["et"] = _ET[told.lower()]


# -- single-phase elements -------------------------------------------------------------------------


def _phases(entry: Entry, about: About) -> str:
    """“a”, or with a delta connection what lies between this phase and the next."""
    given = present(entry.get("phase"))
    phase = 1.0 if given is ABSENT else number(given)
    if phase not in (1, 2, 3):
        about.problem("unknown-value", f"has the phase {shorten(given)}; it is 1, 2 or 3", "phase")
        return "a"
    first = int(phase) - 1
    is_delta = str(entry.get("conn")).strip().lower() == "delta"
    return "abc"[first] + ("abc"[(first + 1) % 3] if is_delta else "")


def line_of_one_phase(values: Values, entry: Entry, about: About) -> None:
    """One conductor has no connection; its values are a matrix of one entry, without a rating."""
    values["phases"] = _phases({"phase": entry.get("phase")}, about)
    for quantity in ("r_{}ohm", "x_{}ohm", "c_{}nf"):
        own = number(values.get(f"{quantity.format('')}_per_km"))
        if own is not None:
            values[f"{quantity.format('matrix_')}_per_km"] = [[own]]
    if "r_matrix_ohm_per_km" in values and "x_matrix_ohm_per_km" in values:
        for name in ("r_ohm_per_km", "x_ohm_per_km", "c_nf_per_km"):
            values.pop(name, None)


def transformer_of_one_phase(values: Values, entry: Entry, about: About) -> None:
    """The dialog has no iron losses and no no-load current."""
    values["phases"] = _phases(entry, about)
    values.setdefault("pfe_kw", 0.0)
    values.setdefault("i0_percent", 0.0)
    _from_kilo(values, "sn_mva")
    if "tap_pos" in values:
        text = f"has tap_pos {shorten(values.pop('tap_pos'))}, of which nobody says how much it is"
        about.problem("missing-parameter", text, "tap_pos")


def power_of_one_phase(values: Values, entry: Entry, about: About) -> None:
    """Kilowatts win over megawatts; a power factor other than 1 counts where there are no kvar."""
    values["phases"] = _phases(entry, about)
    for field, word in (("p_mw", "p_kw"), ("q_mvar", "q_kvar")):
        kilo = number(entry.get(word))
        if kilo is not None and (kilo or field not in values):
            values[field] = kilo / 1e3
    pf, p_mw = number(entry.get("pf")), number(values.get("p_mw"))
    if pf is None or not 0 < abs(pf) < 1 or p_mw is None:
        return
    if number(values.get("q_mvar", 0)):
        about.note(f"it has both reactive power and pf {pf:g}; the reactive power was taken")
    else:
        values["q_mvar"] = math.copysign(p_mw * math.tan(math.acos(abs(pf))), p_mw * pf)


def generator_of_one_phase(values: Values, entry: Entry, about: About) -> None:
    power_of_one_phase(values, entry, about)
    _from_kilo(values, "sn_mva")
    model = present(entry.get("model"))
    if model is not ABSENT and number(model) != 1:
        text = f"has model {shorten(model)}; only 1, constant power, can be represented"
        about.problem("unsupported", text, "model")


def source_of_one_phase(values: Values, entry: Entry, about: About) -> None:
    values["phases"] = _phases(entry, about)
    if len(values["phases"]) == 2:
        text = "is connected in delta; a source of one phase holds it to earth"
        about.problem("unsupported", text, "conn")
        values["phases"] = values["phases"][0]


def _from_kilo(values: Values, name: str) -> None:
    kilo = number(values.get(name))
    if kilo is not None:
        values[name] = kilo / 1e3
