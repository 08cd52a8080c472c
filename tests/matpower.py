"""MATPOWER's case files as requests in the documented spelling.

A branch within one voltage level is a Line, all others are Transformers. Magnetising current is
inductive in pandapower, so what a transformer's charging delivers stands at its
buses: exact but for the flow that its own limit sees.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

OPF = Path(__file__).parents[2] / "shared" / "references" / "opf"


def tables(path: Path) -> dict[str, Any]:
    """baseMVA and the matrices of a case file, as lists of rows."""
    text = re.sub(r"%[^\n]*", "", path.read_text(encoding="utf-8"))
    found: dict[str, Any] = {
        "baseMVA": float(re.search(r"mpc\.baseMVA\s*=\s*([\d.eE+-]+)", text)[1])
    }
    for name, body in re.findall(r"mpc\.(\w+)\s*=\s*\[(.*?)\]", text, re.DOTALL):
        rows = [row.split() for row in re.split(r"[;\n]", body)]
        found[name] = [[float(value) for value in row] for row in rows if row]
    return found


def elements(case: dict[str, Any]) -> dict[str, Any]:
    """The case's elements; solve them with trafo_model pi."""
    base = case["baseMVA"]
    kv = {int(bus[0]): bus[9] or 1.0 for bus in case["bus"]}
    found: dict[str, Any] = {}

    def add(id_: str, typ: str, **parameters: Any) -> None:
        given = {name: value for name, value in parameters.items() if value is not None}
        found[id_] = {"typ": typ, "name": id_, "parameters": given}

    for bus in case["bus"]:
        n = int(bus[0])
        add(f"bus{n}", "Bus", vn_kv=kv[n], max_vm_pu=bus[11], min_vm_pu=bus[12],
            in_service=bus[1] != 4)  # fmt: skip
        if bus[2] or bus[3]:
            add(f"load{n}", "Load", bus=f"bus{n}", p_mw=bus[2], q_mvar=bus[3])
        if bus[4] or bus[5]:
            add(f"shunt{n}", "Shunt", bus=f"bus{n}", p_mw=bus[4], q_mvar=-bus[5])
    references = {int(bus[0]): bus[8] for bus in case["bus"] if bus[1] == 3}
    for k, (gen, cost) in enumerate(zip(case["gen"], case["gencost"], strict=False), 1):
        n = int(gen[0])
        shared = {
            "bus": f"bus{n}", "vm_pu": gen[5], "max_q_mvar": gen[3], "min_q_mvar": gen[4],
            "max_p_mw": gen[8], "min_p_mw": gen[9], "in_service": gen[7] > 0, **costs(cost),
        }  # fmt: skip
        if n in references and gen[7] > 0:
            add(f"gen{k}", "External Grid", va_degree=references.pop(n), **shared)
        else:
            add(f"gen{k}", "Generator", p_mw=gen[1], **shared)
    for k, branch in enumerate(case["branch"], 1):
        f, t, r, x, b, rate = int(branch[0]), int(branch[1]), *branch[2:6]
        ratio, shift, on = branch[8] or 1.0, branch[9], branch[10] > 0
        limited = 100.0 if rate else None
        angles = dict(zip(("min_angle_degree", "max_angle_degree"), branch[11:13], strict=False))
        if list(angles.values()) == [0, 0]:
            angles = {}
        angles = {name: value for name, value in angles.items() if abs(value) < 360}
        if ratio == 1 and not shift and kv[f] == kv[t]:
            ohm = kv[f] ** 2 / base
            add(f"branch{k}", "Line", from_bus=f"bus{f}", to_bus=f"bus{t}", length_km=1.0,
                r_ohm_per_km=r * ohm, x_ohm_per_km=x * ohm,
                c_nf_per_km=b / ohm / (2 * math.pi * 50) * 1e9,
                max_i_ka=(rate or 1.0) / kv[f] / math.sqrt(3), max_loading_percent=limited,
                in_service=on, **angles)  # fmt: skip
            continue
        sn = rate or base
        for side, bus, share in (("f", f, ratio**-2), ("t", t, 1)) if b and on else ():
            add(f"charging{k}{side}", "Shunt", bus=f"bus{bus}", q_mvar=-b / 2 * base * share)
        add(f"branch{k}", "Transformer", hv_bus=f"bus{f}", lv_bus=f"bus{t}", sn_mva=sn,
            vn_hv_kv=kv[f] * ratio, vn_lv_kv=kv[t], shift_degree=shift,
            vk_percent=math.copysign(math.hypot(r, x), x) * 100 * sn / base,
            vkr_percent=r * 100 * sn / base, pfe_kw=0.0, i0_percent=0.0,
            max_loading_percent=limited, in_service=on, **angles)  # fmt: skip
    return found


def costs(row: list[float]) -> dict[str, Any]:
    """A row of gencost as cost fields."""
    model, count = int(row[0]), int(row[3])
    numbers = row[4:]
    if model == 1:
        points = [(numbers[2 * i], numbers[2 * i + 1]) for i in range(count)]
        return {
            "pwl_points": [
                [x0, x1, (y1 - y0) / (x1 - x0)]
                for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False)
            ]
        }
    constant, first, second = [*reversed(numbers[:count]), 0.0, 0.0, 0.0][:3]
    return {"cp0_eur": constant, "cp1_eur_per_mw": first, "cp2_eur_per_mw2": second}


def request(path: Path, **settings: Any) -> dict[str, Any]:
    """An optimal power flow of a case file."""
    return {
        "simulationType": "opf",
        "elements": elements(tables(path)),
        "settings": {"trafo_model": "pi", **settings},
    }
