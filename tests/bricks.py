"""Elements in the documented spelling, written short, and what the engines make of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from electrisim.elements import KIND
from electrisim.engine import Engines
from electrisim.network import Array, Network
from electrisim.results import Answer
from electrisim.settings import Settings
from electrisim.studies import STUDIES
from electrisim.wire import documented
from opendss_bindings import Bindings
from opendss_electrisim import OpenDSS
from pandapower_electrisim import Pandapower

Elements = Mapping[str, Any]

ENGINES = Engines(Pandapower(), OpenDSS(Bindings()))


def element(typ: str, name: str | None = None, /, **parameters: Any) -> dict[str, Any]:
    return {"typ": typ, "name": name, "parameters": parameters}


def bus(vn_kv: float, **more: Any) -> dict[str, Any]:
    return element("Bus", vn_kv=vn_kv, **more)


def grid(at: str, **more: Any) -> dict[str, Any]:
    return element("External Grid", bus=at, **more)


def cable(from_bus: str, to_bus: str, length_km: float = 4.0, **more: Any) -> dict[str, Any]:
    """0.2 + j0.12 Ω/km, 200 nF/km, 0.4 kA"""
    values = {"r_ohm_per_km": 0.2, "x_ohm_per_km": 0.12, "c_nf_per_km": 200, "max_i_ka": 0.4}
    ends = {"from_bus": from_bus, "to_bus": to_bus, "length_km": length_km}
    return element("Line", **{**ends, **values, **more})


def transformer(hv_bus: str, lv_bus: str, **more: Any) -> dict[str, Any]:
    """40 MVA, 110/20 kV, 11 %, with a no-load current"""
    plate = {
        "sn_mva": 40, "vn_hv_kv": 110, "vn_lv_kv": 20, "vk_percent": 11, "vkr_percent": 0.5,
        "pfe_kw": 40, "i0_percent": 0.3,
    }  # fmt: skip
    return element("Transformer", **{"hv_bus": hv_bus, "lv_bus": lv_bus, **plate, **more})


def load(at: str, p_mw: float = 3.0, q_mvar: float = 1.0, **more: Any) -> dict[str, Any]:
    return element("Load", bus=at, p_mw=p_mw, q_mvar=q_mvar, **more)


def decoded(elements: Elements, **settings: Any) -> tuple[Settings, Network]:
    body = {"simulationType": "powerflow", "elements": elements, "settings": settings}
    return documented.decode(json.dumps(body).encode(), {})


def solve(elements: Elements, **settings: Any) -> Answer:
    """The certified answer of a power flow; the setting `solver` says whose."""
    asked, network = decoded(elements, **settings)
    return STUDIES["powerflow"].run(network, asked, ENGINES)


def columns(found: Answer, typ: str) -> Mapping[str, Array]:
    """The result columns of a kind."""
    return found.tables[KIND[typ]]
