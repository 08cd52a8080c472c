"""The same network built by hand: pandapower's own create functions, one call per element.

The referee of what we build in bulk. It takes the documented spelling's `elements` and knows
nothing but which function makes which kind; every default is pandapower's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandapower as pp
from pandapower.auxiliary import pandapowerNet

from electrisim.engine import Engines
from electrisim.wire import answer_request
from pandapower_electrisim import Pandapower

Elements = Mapping[str, Mapping[str, Any]]

#: typ → (pandapower's table, the function that makes one).
CREATE = {
    "Bus": ("bus", pp.create_bus),
    "DC Bus": ("bus_dc", pp.create_bus_dc),
    "External Grid": ("ext_grid", pp.create_ext_grid),
    "Generator": ("gen", pp.create_gen),
    "Static Generator": ("sgen", pp.create_sgen),
    "Asymmetric Static Generator": ("asymmetric_sgen", pp.create_asymmetric_sgen),
    "Load": ("load", pp.create_load),
    "Asymmetric Load": ("asymmetric_load", pp.create_asymmetric_load),
    "Line": ("line", pp.create_line_from_parameters),
    "Transformer": ("trafo", pp.create_transformer_from_parameters),
    "Three Winding Transformer": ("trafo3w", pp.create_transformer3w_from_parameters),
    "Shunt": ("shunt", pp.create_shunt),
    "Shunt Reactor": ("shunt", pp.create_shunt),
    "Capacitor": ("shunt", pp.create_shunt),
    "Impedance": ("impedance", pp.create_impedance),
    "Ward": ("ward", pp.create_ward),
    "Extended Ward": ("xward", pp.create_xward),
    "Motor": ("motor", pp.create_motor),
    "Storage": ("storage", pp.create_storage),
    "DC Line": ("dcline", pp.create_dcline),
    "SVC": ("svc", pp.create_svc),
    "TCSC": ("tcsc", pp.create_tcsc),
    "SSC": ("ssc", pp.create_ssc),
    "Line DC": ("line_dc", pp.create_line_dc_from_parameters),
    "Load DC": ("load_dc", pp.create_load_dc),
    "Source DC": ("source_dc", pp.create_source_dc),
    "VSC": ("vsc", pp.create_vsc),
    "B2B VSC": ("vsc_stacked", pp.create_vsc_stacked),
    "Switch": ("switch", pp.create_switch),
}

#: What pandapower's functions want given, where the catalogue has a default.
MUST_GIVE: Mapping[str, Mapping[str, Any]] = {
    "Storage": {"max_e_mwh": float("nan")},
    "Extended Ward": {"vm_pu": 1.0},
    "DC Line": {"loss_percent": 0.0, "loss_mw": 0.0, "vm_from_pu": 1.0, "vm_to_pu": 1.0},
}

WITH_STD_TYPE = {
    "Line": pp.create_line,
    "Transformer": pp.create_transformer,
    "Three Winding Transformer": pp.create_transformer3w,
    "Line DC": pp.create_line_dc,
}

REFERENCES = (
    "bus", "from_bus", "to_bus", "hv_bus", "mv_bus", "lv_bus", "bus_dc", "from_bus_dc",
    "to_bus_dc", "bus_dc_plus", "bus_dc_minus",
)  # fmt: skip

SWITCHED = {"bus": "b", "line": "l", "trafo": "t", "trafo3w": "t3"}


class Hand:
    """A network built by hand.

    net    pandapower's
    where  element id → (table, index)
    """

    def __init__(self, elements: Elements, f_hz: float = 50.0) -> None:
        self.net: pandapowerNet = pp.create_empty_network(f_hz=f_hz)
        self.where: dict[str, tuple[str, int]] = {}
        last = ("Switch",)
        first = ("Bus", "DC Bus")
        for stage in (first, None, last):
            for id_, element in elements.items():
                typ = element["typ"]
                if typ in stage if stage else typ not in first + last:
                    self._create(id_, typ, {**MUST_GIVE.get(typ, {}), **element["parameters"]})

    def _create(self, id_: str, typ: str, given: dict[str, Any]) -> None:
        table, create = CREATE[typ]
        for name in REFERENCES:
            if name in given:
                given[name] = self.where[given[name]][1]
        if typ == "Switch":
            switched, index = self.where[given["element"]]
            given |= {"element": index, "et": SWITCHED[switched]}
        if given.get("std_type"):
            create = WITH_STD_TYPE[typ]
        self.where[id_] = (table, int(create(self.net, name=id_, **given)))

    def result(self, id_: str, suffix: str = "") -> dict[str, float]:
        """pandapower's result row of an element."""
        table, index = self.where[id_]
        return dict(self.net[f"res_{table}{suffix}"].loc[index])


def differences(
    records: Iterable[Mapping[str, Any]], hand: Hand, suffix: str = ""
) -> dict[str, float]:
    """Largest difference of our records from pandapower's own results, per result column.

    Relative where the numbers are larger than 1.

    A null here where pandapower has a number, or the other way round, is infinite. Columns that
    pandapower does not have are left out.
    """
    worst: dict[str, float] = {}
    for record in records:
        expected = hand.result(record["id"], suffix)
        for column, value in record.items():
            if column not in expected:
                continue
            ours = np.nan if value is None else float(value)
            theirs = float(expected[column])
            if np.isnan(ours) or np.isnan(theirs):
                error = 0.0 if np.isnan(ours) and np.isnan(theirs) else np.inf
            else:
                error = abs(ours - theirs) / max(1.0, abs(theirs))
            worst[column] = max(worst.get(column, 0.0), error)
    return worst


PANDAPOWER = Pandapower()


def ask(
    elements: Elements, engine: Pandapower = PANDAPOWER, **settings: Any
) -> tuple[int, dict[str, Any]]:
    """(status, body) of a power flow on pandapower, from bytes to bytes."""
    body = {"simulationType": "powerflow", "elements": elements, "settings": settings}
    status, _, answer = answer_request(
        json.dumps(body).encode(), Engines(engine), engine.standard_types
    )
    return status, json.loads(answer)


def answer(elements: Elements, **settings: Any) -> dict[str, Any]:
    """The body of an answered power flow."""
    status, body = ask(elements, **settings)
    assert status == 200, body.get("error")
    return body


def records(body: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every record of an answer by the id of its element."""
    return {record["id"]: record for rows in body["results"].values() for record in rows}


def refused(elements: Elements, **settings: Any) -> list[dict[str, Any]]:
    """The problems of a power flow that is refused."""
    status, body = ask(elements, **settings)
    assert status == 422, body
    return body["errors"]
