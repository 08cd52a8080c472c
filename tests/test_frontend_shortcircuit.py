"""Short circuit as the browser asks for it.

Where the backend that this one replaces answered, its currents are pandapower's own, and ours are
the same, apart from what it left out: the tolerance of low voltages, and machines that it counted
twice or that shared a bus.
"""

from __future__ import annotations

from typing import Any

import pytest
from pytest import approx
from test_wire_frontend import (
    LINE,
    TRANSFORMER,
    answered,
    ask,
    entry,
    feeder,
    needs_shared,
    payload,
    payloads,
    row,
    theirs,
)

Body = dict[str, Any]

STUDY = {
    "typ": "ShortCircuitPandaPower Parameters", "fault_type": "3ph", "fault_location": "max",
    "fault_impedance": "10", "topology": "auto", "tk_s": "1", "r_fault_ohm": "0",
    "x_fault_ohm": "0", "inverse_y": "True", "exportPandapowerResults": False,
}  # fmt: skip
#: Diagrams in which the other backend counts an asynchronous machine as a converter too, or leaves
#: out what shares its bus.
OTHERWISE = ("IEEE_5bus", "reactive_power_onshore_WF_33MW")
#: Requests without any zero sequence of the lines.
WITHOUT_ZERO_SEQUENCE = ("10_bus_Italian_grid", "CIGRE_MVnetwork_allDER", "multivoltage_example")
#: What comes out of a feeder whose grid has these.
GRID = {"s_sc_max_mva": "1000", "rx_max": "0.1", "s_sc_min_mva": "0", "rx_min": "0.2",
        "x0x_max": "1", "r0x0_max": "0.1"}  # fmt: skip
ZERO = {"r0_ohm_per_km": "0.5", "x0_ohm_per_km": "0.4", "c0_nf_per_km": "0", "endtemp_degree": "0"}


def fed(*more: Body, grid: Body = GRID, line: Body = ZERO, **parameters: Any) -> Body:
    """grid ── bus a ══ line, 10 km ══ bus b, 20 kV, and what more there is"""
    body = feeder(*more, parameters={**STUDY, **parameters})
    body["1"] |= grid
    body["4"] |= line
    return body


@needs_shared
@pytest.mark.parametrize("name", payloads("*__shortcircuit_pandapower*"))
def test_what_the_browser_sent_is_answered_or_refused_for_what_it_lacks(client, name):
    answer = ask(client, payload(name))
    if "1ph_min" in name and name.startswith(WITHOUT_ZERO_SEQUENCE):
        assert "zero sequence" in answer["error"] and answer["diagnostic"]["invalid_parameters"]
        return
    assert "error" not in answer, answer["error"]
    for bus in answer["busbars"]:
        for field in ("ikss_ka", "ip_ka", "ith_ka", "rk_ohm", "xk_ohm"):
            assert isinstance(bus[field], float) and bus[field] >= -1e-9, (bus["name"], field)
        assert bus["ip_ka"] >= 1.02 * 2**0.5 * bus["ikss_ka"] * (1 - 1e-9)
    assert len(answer["ext_grid_sc"]) == 1
    assert len(answer["busbars"]) == sum(
        entry["typ"].startswith("Bus") for entry in payload(name).values()
    ) - sum("Without supply" in warning for warning in answer["warnings"])


@needs_shared
@pytest.mark.parametrize("name", answered("*__shortcircuit_pandapower*"))
def test_currents_are_those_of_the_backend_that_this_one_replaces(client, name):
    """At its tolerance of low voltages, which is always 10 %."""
    if name.startswith(OTHERWISE) or "error" in theirs(name):
        return
    body = payload(name)
    body["0"]["fault_impedance"] = "10"
    answer, other = ask(client, body), theirs(name)
    for key in ("busbars", "ext_grid_sc"):
        for old in other[key]:
            new = row(answer, key, old["name"])
            assert new["id"] == old["id"]
            for field in ("ikss_ka", "rk_ohm", "xk_ohm"):
                assert new[field] == approx(old[field], rel=1e-7, abs=1e-9), (old["name"], field)
    for key, fields in (("lines_sc", ("ikss_ka",)), ("trafos_sc", ("ikss_hv_ka", "ikss_lv_ka"))):
        for old in other.get(key, ()):
            for field in fields:
                expected = approx(old[field], rel=1e-6)
                assert row(answer, key, old["name"])[field] == expected, (old["name"], field)


def test_the_parameters_of_the_dialog_all_act(client):
    """`fault_location` is the case and `fault_impedance` the tolerance."""
    low = {"2": entry("Bus0", "a", vn_kv="0.4"), "3": entry("Bus1", "b", vn_kv="0.4")}
    plain = ask(client, fed())["busbars"][1]["ikss_ka"]
    for change in (
        {"fault_type": "2ph"}, {"fault_type": "1ph"}, {"fault_location": "min"},
        {"r_fault_ohm": "1"}, {"x_fault_ohm": "1"},
    ):  # fmt: skip
        assert ask(client, fed(**change))["busbars"][1]["ikss_ka"] < plain, change
    assert ask(client, fed(inverse_y="False"))["busbars"][1]["ikss_ka"] == approx(plain, rel=1e-9)
    ith = [ask(client, fed(tk_s=tk))["busbars"][0]["ith_ka"] for tk in ("0.1", "1")]
    assert ith[0] > ith[1]
    machine = entry(
        "Generator", "g", bus="b", p_mw="10", vm_pu="1", sn_mva="20", vn_kv="20", xdss_pu="0.2",
        rdss_ohm="0.1", cos_phi="0.8", pg_percent="0", in_service="true",
    )  # fmt: skip
    peaks = [
        ask(client, fed(machine, topology=word))["busbars"][1]["ip_ka"]
        for word in ("auto", "radial")
    ]
    assert abs(peaks[0] - peaks[1]) > 1e-3
    six, ten = (
        ask(client, {**fed(fault_impedance=tolerance), **low})["busbars"][0]["ikss_ka"]
        for tolerance in ("6", "10")
    )
    # At the feeder itself c cancels out of c·Un/√3 over c·Un²/S.
    assert six == approx(ten)
    six, ten = (
        ask(client, {**fed(fault_impedance=tolerance), **low})["busbars"][1]["ikss_ka"]
        for tolerance in ("6", "10")
    )
    assert six == approx(ten * 1.05 / 1.1, rel=1e-3)


def test_the_smallest_case_borrows_what_the_dialog_cannot_say(client):
    """Its power 0 is not set; x0x_min and r0x0_min have no field at all."""
    answer = ask(client, fed(fault_type="1ph", fault_location="min"))
    warnings = " ".join(answer["warnings"])
    for field, substitute in (
        ("s_sc_min_mva", "s_sc_max_mva"), ("x0x_min", "x0x_max"), ("r0x0_min", "r0x0_max"),
        ("endtemp_degree", "80 °C"),
    ):  # fmt: skip
        assert f"{field} is not given; {substitute} was taken" in warnings
    bus = row(answer, "busbars", "a")
    z = 20**2 / 1000 * (0.2 + 1j) / abs(0.2 + 1j)
    z0 = z.imag * (0.1 + 1j)
    assert bus["ikss_ka"] == approx(3**0.5 * 20 / abs(2 * z + z0), rel=1e-9)


def test_a_machine_of_which_the_dialog_says_nothing_has_usual_data_and_they_are_told(client):
    machine = entry(
        "Generator", "g", bus="b", p_mw="17", vm_pu="1", sn_mva="0", vn_kv="0", xdss_pu="0",
        rdss_ohm="0", cos_phi="0", pg_percent="0", power_station_trafo="1", in_service="true",
    )  # fmt: skip
    answer = ask(client, fed(machine))
    warnings = " ".join(answer["warnings"])
    for told in ("that of its bus", "p_mw by cos_phi", "xdss_pu is not given; 0.2", "0.85"):
        assert told in warnings
    assert "power_station_trafo 1 names no transformer" in warnings
    alone = ask(client, fed())
    # 20 MVA with x″ 0.2 behind K_G, added to the grid's over the line.
    k_g = 1.1 / (1 + 0.2 * (1 - 0.85**2) ** 0.5)
    z_grid = 1.1 * 400 / 1000 * (0.1 + 1j) / abs(0.1 + 1j) + 10 * (0.16 + 0.117j)
    y = 1 / z_grid + 1 / (k_g * 0.2j * 400 / 20)
    assert row(answer, "busbars", "b")["ikss_ka"] == approx(1.1 * 20 / 3**0.5 * abs(y), rel=1e-9)
    assert row(alone, "busbars", "b")["ikss_ka"] < row(answer, "busbars", "b")["ikss_ka"]


@pytest.mark.parametrize(
    ("fields", "counts", "told"),
    [
        ({"generator_type": "async", "lrc_pu": "0", "k": "0"}, False, "not counted"),
        ({"generator_type": "async", "lrc_pu": "0", "k": "1.2"}, True, None),
        ({"generator_type": "async", "lrc_pu": "5", "rx": "0.1"}, True, "asynchronous machine"),
        ({"generator_type": "current_source", "k": "0"}, True, "k is not given; 1.1"),
    ],
)
def test_a_static_generator_is_what_its_fields_say(client, fields, counts, told):
    machine = entry(
        "Static Generator", "s", bus="b", p_mw="2", q_mvar="0", sn_mva="3", scaling="1",
        current_source="true", kappa="0", max_ik_ka="0", in_service="true", **fields,
    )  # fmt: skip
    answer, alone = ask(client, fed(machine)), ask(client, fed())
    more = row(answer, "busbars", "b")["ikss_ka"] > row(alone, "busbars", "b")["ikss_ka"] + 1e-3
    assert more is counts
    assert told is None or any(told in warning for warning in answer["warnings"])


def test_a_transformer_takes_its_positive_for_its_zero_sequence_where_it_says_none(client):
    low = entry("Bus2", "c", vn_kv="0.4")
    own = {"vn_hv_kv": "20", "vn_lv_kv": "0.4", "sn_mva": "1", "vk_percent": "6"}
    zero = {"vk0_percent": "0", "vkr0_percent": "0", "mag0_percent": "0", "si0_hv_partial": "0"}
    trafo = entry("Transformer0", "t", hv_bus="b", lv_bus="c", **{**TRANSFORMER, **own, **zero})
    answer = ask(client, fed(low, trafo, fault_type="1ph"))
    said = ask(
        client,
        fed(low, {**trafo, "vk0_percent": "6", "vkr0_percent": "0.41"}, fault_type="1ph"),
    )
    assert row(answer, "busbars", "c")["ikss_ka"] == row(said, "busbars", "c")["ikss_ka"]
    assert any("vk0_percent is not given; vk_percent" in w for w in answer["warnings"])


def test_a_line_without_zero_sequence_is_asked_for_it(client):
    line = {**LINE, **ZERO, "r0_ohm_per_km": "0", "x0_ohm_per_km": "0"}
    answer = ask(client, fed(line=line, fault_type="1ph"))
    [told] = answer["diagnostic"]["invalid_parameters"]
    assert (told["element_type"], told["name"]) == ("Line", "line")
    assert "zero sequence" in answer["error"]


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("fault_type", "5ph"), ("fault_location", "mid"), ("fault_impedance", "8"), ("tk_s", "-1"),
     ("topology", "ring"), ("r_fault_ohm", "a"), ("inverse_y", "2")],
)  # fmt: skip
def test_a_parameter_that_is_none_is_named(client, parameter, value):
    answer = ask(client, fed(**{parameter: value}))
    assert answer["error"] and answer["diagnostic"]["invalid_parameters"]


# -- OpenDSS ---------------------------------------------------------------------------------------


@needs_shared
@pytest.mark.parametrize("name", payloads("*__shortcircuit_opendss*"))
def test_what_the_browser_asked_of_opendss_has_a_current_at_every_bus(client, name):
    answer = ask(client, payload(name))
    assert "error" not in answer, answer["error"]
    buses = [one for one in payload(name).values() if one["typ"].startswith("Bus")]
    assert [bus["id"] for bus in answer["busbars"]] == [bus["id"] for bus in buses]
    for bus in answer["busbars"]:
        assert bus["ikss_ka"] > 0 and bus["xk_ohm"] > 0
        assert bus["ip_ka"] >= 1.02 * 2**0.5 * bus["ikss_ka"]


@pytest.mark.parametrize(("fault", "factor"), [("3ph", 1), ("2ph", 3**0.5 / 2), ("1ph", 1)])
def test_the_fault_of_the_opendss_dialog_acts(client, fault, factor):
    """At the grid, of the zero sequence of the positive one: S/(√3·Un), whatever the phases."""
    parameters = {"typ": "ShortCircuitOpenDss Parameters", "frequency": 50, "fault": fault}
    body = fed(grid={**GRID, "x0x_max": "1", "r0x0_max": "0.1"})
    body["0"] = {**parameters, "exportOpenDSSResults": False, "user_email": "tester@example.com"}
    answer = ask(client, body)
    # Behind a vm_pu of 1.02; the line's charging adds a ten-thousandth.
    expected = 1.02 * 1000 / 3**0.5 / 20 * factor
    assert row(answer, "busbars", "a")["ikss_ka"] == approx(expected, rel=1e-3)
