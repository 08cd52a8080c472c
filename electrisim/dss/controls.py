"""RegControl on the transformers of the graph: it acts where a study lets controllers act.

What the graph's tap control cannot say is told in a note, and the taps stay as they are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from electrisim.dss.script import Circuit, Note, Thing
from electrisim.dss.transformers import sides, step_of
from electrisim.dss.wiring import ROOT3, Bases

#: What OpenDSS takes where a regulator says nothing: volts behind the ratio of its transformer.
VREG, BAND, PT_RATIO = 120.0, 3.0, 60.0


def regulate(circuit: Circuit, bases: Bases, made: Mapping[str, dict[str, Any]]) -> None:
    """Put the regulators on their transformers, and say what becomes of each."""
    seen: set[str] = set()
    for control in circuit.of("regcontrol"):
        name = f"transformer.{control.get('transformer', '')}"
        reasons = list(_reasons(control, circuit))
        if name in seen:
            reasons.append("its transformer has another control")
        if name not in made:
            reasons.append("it has no transformer")
        if reasons:
            text = f"{control.id} is not imported ({'; '.join(reasons)}): its taps stay."
        else:
            seen.add(name)
            unit = circuit.things["transformer"][control.get("transformer")]
            made[name]["parameters"].update(_fields(control, unit, bases))
            text = f"{control.id} acts in studies with run_control; elsewhere its taps stay."
        circuit.notes.append(Note(control.place, text))


def _reasons(control: Thing, circuit: Circuit) -> Iterator[str]:
    if any(control.get(name) for name in ("r", "x", "ldc_z")):
        yield "it has a line drop compensation"
    if "bus" in control:
        yield "it looks at another bus than its winding's"
    if control.get("reversible") or control.get("vlimit"):
        yield "it looks at the direction or at a limit"
    if control.get("enabled") is False:
        yield "it is disabled"
    unit = circuit.things.get("transformer", {}).get(control.get("transformer", ""))
    if unit is not None and int(unit.get("windings", 2)) != 2:
        yield "its transformer has more than two windings"
    if min(control.get(name, 1.0) for name in ("vreg", "band", "ptratio")) <= 0:
        yield "its voltages are not more than 0"


def _fields(control: Thing, unit: Thing, bases: Bases) -> dict[str, Any]:
    watched = int(control.get("winding", 1))
    moved = int(control.get("tapwinding", watched))
    side = sides(unit)
    at = unit.get((watched, "bus"))
    delta = str(unit.get((watched, "conn"), "wye"))[:1] in ("d", "l")
    nominal = 1e3 * bases[at.name] / (1 if delta else ROOT3)
    ratio = control.get("ptratio", PT_RATIO) / nominal
    vreg, half = control.get("vreg", VREG), control.get("band", BAND) / 2
    step = step_of(unit, moved)
    low, high = unit.get((moved, "mintap"), 0.9), unit.get((moved, "maxtap"), 1.1)
    return {
        "tap_control": "discrete", "control_side": side[watched],
        "vm_lower_pu": (vreg - half) * ratio, "vm_upper_pu": (vreg + half) * ratio,
        "tap_side": side[moved], "tap_neutral": 0.0, "tap_step_percent": 100 * step,
        "tap_pos": round((unit.get((moved, "tap"), 1.0) - 1) / step, 9),
        "tap_min": float(round((low - 1) / step)), "tap_max": float(round((high - 1) / step)),
        "tap_changer_type": "Ratio",
    }  # fmt: skip
