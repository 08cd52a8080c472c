"""Harmonic analysis in the browser's spelling: the OpenDSS power flow, and its distortion."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.fields import ABSENT, present, read
from electrisim.network import Array
from electrisim.problems import Problem, shorten
from electrisim.results import Answer
from electrisim.studies import harmonics
from electrisim.wire.frontend import power_flow
from electrisim.wire.frontend.conversions import number
from electrisim.wire.frontend.report import Report
from electrisim.wire.frontend.study import Body, Parameters, Request, Spoken
from electrisim.wire.frontend.tables import POWER_FLOW
from electrisim.wire.frontend.writing import write_lists

#: Browser's field → the catalogue's, of what the study reads beyond power flow.
_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        **{
            word: word
            for word in (
                "spectrum", "spectrum_csv", "s_sc_max_mva", "rx_max", "r0x0_max", "x0x_max",
                "rdss_ohm", "vn_kv", "r0_ohm_per_km", "x0_ohm_per_km", "c0_nf_per_km",
            )
        },
        "Xdpp": "xdss_pu",
        "XRharm": "xr_harmonic",
        "puXharm": "x_harmonic_pu",
        "pctSeriesRL": "series_rl_percent",
    }
)  # fmt: skip
#: Of them, those whose 0 is a number and not the dialog's word for nothing.
_ZERO_COUNTS = frozenset({"rx_max", "r0x0_max", "pctSeriesRL"})
_OWN = ("analysisType", "harmonics", "neglectLoadY")


def _read(parameters: Parameters, report: Report) -> harmonics.Harmonics | None:
    report.more = _FIELDS
    report.unset = frozenset(_FIELDS) - _ZERO_COUNTS
    values = power_flow.opendss_settings(parameters, report, _OWN)
    values["harmonics"] = _orders(parameters.get("harmonics"), report)
    values["neglect_load_y"] = parameters.get("neglectLoadY", False)
    settings, problems = read(harmonics.Harmonics, values, "The harmonic analysis", "setting")
    report.problems += problems
    return settings


def _orders(text: object, report: Report) -> list[float] | None:
    """“3,5,7” as orders; the fundamental, which is always answered, goes without saying."""
    given = present(text)
    if given is ABSENT:
        return None
    found = [number(word) for word in str(given).split(",") if word.strip()]
    if None in found:
        message = f"The harmonic analysis: harmonics “{shorten(given)}” is no list of orders."
        report.problems.append(Problem(kind="not-a-number", message=message, field="harmonics"))
    return [order for order in dict.fromkeys(found) if order is not None and order != 1] or None


def _write(request: Request, found: Answer) -> tuple[Body, list[str]]:
    distortion: dict[type[Element], dict[str, Body]] = {
        kind: _distortion(request, found, kind) for kind in (e.Bus, e.Line)
    }

    def echo(kind: type[Element], id_: str) -> Body:
        identity = power_flow.opendss_echo(request, kind, id_)
        return {**identity, **distortion.get(kind, {}).get(id_, {})}

    lists, incomplete = write_lists(request.network, found.tables, POWER_FLOW["opendss"], echo)
    body: Body = {**lists}
    body["harmonic_analysis"] = {
        "executed": True,
        "frequency_hz": request.settings.frequency,
        "harmonic_orders": found.beside["orders"],
        "neglectLoadY": request.settings.neglect_load_y,
    }
    if "script" in found.beside:
        body["opendss_commands"] = found.beside["script"]
    return body, incomplete


def _distortion(request: Request, found: Answer, kind: type[Element]) -> dict[str, Body]:
    """What the browser shows of each bus or line beside its power flow, by element."""
    rows = request.network.rows(kind)
    if not len(rows):
        return {}
    if kind is e.Bus:
        fundamental = found.tables[kind]["vm_pu"] * rows.column("vn_kv")
        words = ("vthd_percent", "fundamental_voltage_kv", "harmonic_voltages_kv")
        by_order, thd = found.beside["harmonics"][kind.key]["vm_kv"], "vthd_percent"
    else:
        fundamental = 1e3 * found.tables[kind]["i_from_ka"]
        words = ("ithd_percent", "fundamental_current_a", "harmonic_currents_a")
        by_order, thd = found.beside["harmonics"][kind.key]["i_from_ka"], "ithd_from_percent"
    scale = 1 if kind is e.Bus else 1e3
    orders = [f"{order:g}" for order in found.beside["orders"]]
    each: Array = scale * np.array(by_order).reshape(len(orders), len(rows)).T
    columns = (found.tables[kind][thd].tolist(), fundamental.tolist(), each.tolist())
    return {
        id_: dict(zip(words, (share, whole, dict(zip(orders, parts, strict=True))), strict=True))
        for id_, share, whole, parts in zip(rows.ids, *columns, strict=True)
    }


ON_OPENDSS = Spoken(_read, harmonics.run, _write)
