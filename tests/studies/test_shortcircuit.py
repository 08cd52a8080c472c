"""Short circuits on pandapower: published currents, pandapower by hand, and cases on paper."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandapower.shortcircuit as by_pandapower
import pytest
from bricks import ENGINES, bus, cable, element, grid, load, transformer
from hand import Hand
from pytest import approx

from electrisim.problems import ProblemError
from electrisim.studies import shortcircuit
from electrisim.wire import documented

STANDARD = Path(__file__).parents[3] / "shared/references/iec60909-4-network.json"
shared = pytest.mark.skipif(not STANDARD.exists(), reason="the reference network is not here")

FEED = {"s_sc_max_mva": 1000, "rx_max": 0.1, "x0x_max": 1.5, "r0x0_max": 0.2,
        "s_sc_min_mva": 600, "rx_min": 0.15, "x0x_min": 1.2, "r0x0_min": 0.3}  # fmt: skip
ZERO = {"r0_ohm_per_km": 0.5, "x0_ohm_per_km": 0.4, "c0_nf_per_km": 0, "endtemp_degree": 80}
TRAFO_ZERO = {
    "vector_group": "Dyn5", "vk0_percent": 10, "vkr0_percent": 0.6, "mag0_percent": 100,
    "mag0_rx": 0.2, "si0_hv_partial": 0.9,
}  # fmt: skip
MACHINE = {"vn_kv": 20, "sn_mva": 20, "xdss_pu": 0.2, "rdss_ohm": 0.1, "cos_phi": 0.8, "p_mw": 10}
MOTOR = {
    "pn_mech_mw": 1.0, "cos_phi": 0.85, "cos_phi_n": 0.85, "efficiency_n_percent": 95.0,
    "lrc_pu": 5.0, "rx": 0.1, "vn_kv": 20.0,
}  # fmt: skip


def asked(elements: Any, **settings: Any) -> tuple[Any, Any]:
    body = {"simulationType": "shortcircuit", "elements": elements, "settings": settings}
    return documented.decode(json.dumps(body).encode(), {})


def solve(elements: Any, **settings: Any) -> dict[str, Any]:
    read, network = asked(elements, **settings)
    return json.loads(documented.encode(network, shortcircuit.run(network, read, ENGINES)))


def problems(elements: Any, **settings: Any) -> list[tuple[str | None, str | None, str]]:
    """(element, field, kind) of every fault of a request that is refused."""
    with pytest.raises(ProblemError) as refused:
        read, network = asked(elements, **settings)
        shortcircuit.run(network, read, ENGINES)
    return [(p.element, p.field, p.kind) for p in refused.value.problems]


def at(answer: Any, key: str, id_: str) -> dict[str, Any]:
    return next(record for record in answer["results"][key] if record["id"] == id_)


def column(answer: Any, name: str, key: str = "busbars") -> list[float]:
    return [record[name] for record in answer["results"][key]]


def feeder(**line: Any) -> dict[str, Any]:
    """grid ── b1 ── 5 km ── b2, 20 kV"""
    return {
        "b1": bus(20), "b2": bus(20), "grid": grid("b1", **FEED),
        "line": cable("b1", "b2", 5, **ZERO, **line),
    }  # fmt: skip


# -- published ------------------------------------------------------------------------------------

# Currents of IEC TR 60909-4 as pandapower's validation test has them; HG1 and HG2 are the terminals
# of its two power-station units. The breaking currents are of 0.1 s.
IKSS_KA = [40.6447, 31.7831, 19.6730, 16.2277, 33.1894, 37.5629, 25.5895, 13.5778, 52.4438, 80.5720]
IP_KA = [100.5677, 80.6079, 45.8111, 36.8427, 83.4033, 98.1434, 51.6899, 36.9227]
IB_KA = [40.645, 31.570, 19.388, 16.017, 32.795, 34.028, 23.212, 13.578]
IK2_KA = [35.1994, 27.5249, 17.0373, 14.0536, 28.7429, 32.5304, 22.1611, 11.7586]
IK1_KA = [24.6526, 15.9722, 10.4106, 9.0498, 17.0452]


@pytest.fixture(scope="module")
def standard() -> dict[str, Any]:
    return json.loads(STANDARD.read_text())["elements"]


@shared
def test_the_standards_example_has_its_published_currents(standard):
    answer = solve(standard, tk_s=0.1)
    assert column(answer, "ikss_ka")[:10] == approx(IKSS_KA, abs=1e-3)
    assert column(answer, "ip_ka")[:8] == approx(IP_KA, abs=1e-3)
    assert column(answer, "ib_ka")[:8] == approx(IB_KA, abs=1e-3)
    assert at(answer, "busbars", "bus-0")["skss_mw"] == approx(26751.51, abs=1e-2)


@shared
def test_the_breaking_current_has_its_own_time(standard):
    """t_min_s is that of ib_ka alone; tk_s stays that of ith_ka."""
    answer = solve(standard, tk_s=1.0, t_min_s=0.1)
    assert column(answer, "ib_ka")[:8] == approx(IB_KA, abs=1e-3)
    assert column(answer, "ith_ka") == column(solve(standard, tk_s=1.0), "ith_ka")


@shared
def test_the_standards_unbalanced_faults_are_the_published_ones(standard):
    assert column(solve(standard, fault="2ph"), "ikss_ka")[:8] == approx(IK2_KA, abs=1e-3)
    single = solve(standard, fault="1ph")
    assert column(single, "ikss_ka")[:5] == approx(IK1_KA, abs=1e-3)
    # Behind the deltas of transformers there is no way through earth.
    assert column(single, "ikss_ka")[7:10] == [0, 0, 0]
    assert at(single, "busbars", "bus-7")["xk0_ohm"] is None


@shared
def test_the_factors_of_the_standards_example_are_told(standard):
    """K_S and K_SO of the units as in IEC TR 60909-4 (0.995975, 0.876832), K_T as printed there."""
    factors = solve(standard)["factors"]
    assert factors["trafo-0"] == {"k_s": approx(0.995975, abs=1e-6)}
    assert factors["trafo-1"] == {"k_so": approx(0.876832, abs=1e-6)}
    assert factors["gen-2"]["k_g"] == approx(0.988320, abs=1e-6)
    assert factors["trafo3w-0"]["k_t_hv"] == approx(0.928072, abs=1e-6)
    assert factors["trafo3w-2"]["k_t_hv"] == approx(0.974870, abs=1e-6)
    assert factors["bus-0"]["c"] == 1.1


@shared
def test_the_whole_inverse_gives_the_same(standard):
    for fault in ("3ph", "1ph"):
        one, other = (solve(standard, fault=fault, inverse_y=flag) for flag in (False, True))
        assert column(one, "ip_ka") == approx(column(other, "ip_ka"), rel=1e-9, abs=1e-9)


# -- pandapower by hand ----------------------------------------------------------------------------


def by_hand(elements: Any, **settings: Any) -> Hand:
    """pandapower's calc_sc of a net built by its create functions, one call per element."""
    elements = json.loads(json.dumps(elements))
    units = {
        id_: one["parameters"].pop("power_station_trafo")
        for id_, one in elements.items()
        if "power_station_trafo" in one["parameters"]
    }
    hand = Hand(elements)
    if units:
        of_row = {hand.where[id_][1]: hand.where[unit][1] for id_, unit in units.items()}
        numbers = [of_row.get(row, np.nan) for row in hand.net.gen.index]
        hand.net.gen["power_station_trafo"] = numbers
    for table, column_, otherwise in (("sgen", "current_source", True), ("trafo", "oltc", False)):
        if len(hand.net[table]) and column_ in hand.net[table]:
            hand.net[table][column_] = hand.net[table][column_].fillna(otherwise)
    if len(hand.net.trafo) and "vector_group" in hand.net.trafo:
        hand.net.trafo["vector_group"] = hand.net.trafo["vector_group"].str.rstrip("0123456789")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_pandapower.calc_sc(
            hand.net, branch_results=True, ip=True, ith=True, **{"case": "max", **settings}
        )
    return hand


@shared
def test_the_standards_minimum_is_what_pandapower_says(standard):
    """Lines at 80 °C, network feeders at a tenth of their power."""
    elements = json.loads(json.dumps(standard))
    for one in elements.values():
        parameters = one["parameters"]
        parameters.pop("reactive_capability_curve", None)
        if one["typ"] == "Line":
            parameters["endtemp_degree"] = 80
        if one["typ"] == "External Grid":
            parameters["s_sc_min_mva"] = parameters["s_sc_max_mva"] / 10
            parameters["rx_min"] = parameters["rx_max"]
    hand = by_hand(elements, case="min")
    answer = solve(elements, case="min")
    for name in ("ikss_ka", "ip_ka", "ith_ka"):
        assert column(answer, name) == approx(list(hand.net.res_bus_sc[name]), rel=1e-9)


def network() -> dict[str, Any]:
    """110 kV grid ── transformer ── b2 ── two cables in a ring over b3 ── motor, wind park, load"""
    ring = {**ZERO, "c_nf_per_km": 0}
    return {
        "b1": bus(110), "b2": bus(20), "b3": bus(20), "b4": bus(20),
        "grid": grid("b1", **FEED),
        "t": transformer("b1", "b2", **TRAFO_ZERO),
        "l1": cable("b2", "b3", 4, **ring), "l2": cable("b3", "b4", 3, **ring),
        "l3": cable("b2", "b4", 5, **ring),
        "motor": element("Motor", bus="b3", **MOTOR),
        "wind": element("Static Generator", bus="b4", p_mw=2, sn_mva=3, k=1.2),
        "load": load("b4"),
    }  # fmt: skip


@pytest.mark.parametrize("fault", ["3ph", "2ph", "1ph"])
@pytest.mark.parametrize("case", ["max", "min"])
def test_a_network_is_what_pandapower_says(fault, case):
    elements = network()
    answer = solve(elements, fault=fault, case=case)
    hand = by_hand(elements, fault=fault, case=case)
    for id_ in ("b1", "b2", "b3", "b4"):
        ours, theirs = at(answer, "busbars", id_), hand.result(id_, "_sc")
        for name in (
            "ikss_ka",
            "rk_ohm",
            "xk_ohm",
            *(("ip_ka", "ith_ka") if fault != "1ph" else ()),
        ):
            assert ours[name] == approx(theirs[name], rel=1e-9), (id_, name)


def test_branches_and_switches_are_what_pandapower_says():
    """A fault at every bus: branches have the largest current, and a ring with an open end none."""
    elements = network()
    elements["open"] = element("Switch", bus="b4", element="l3", closed=False)
    elements["b5"] = bus(20)
    elements["z"] = element(
        "Impedance", from_bus="b4", to_bus="b5", sn_mva=10, rft_pu=0.05, xft_pu=0.1
    )
    elements["b6"] = bus(20)
    elements["tie"] = element("Switch", bus="b5", element="b6")
    answer, hand = solve(elements), by_hand(elements)
    for id_ in ("b3", "b5", "b6"):
        assert at(answer, "busbars", id_)["ikss_ka"] == approx(hand.result(id_, "_sc")["ikss_ka"])
    for key, ids, names in (
        ("lines", ("l1", "l2"), ("ikss_ka", "ikss_from_ka", "ikss_to_ka", "ip_ka", "ith_ka")),
        ("transformers", ("t",), ("ikss_hv_ka", "ikss_lv_ka")),
    ):
        for id_ in ids:
            for name in names:
                expected = hand.result(id_, "_sc")[name]
                assert at(answer, key, id_)[name] == approx(expected, rel=1e-6), (id_, name)
    assert at(answer, "lines", "l3")["ikss_to_ka"] is None


# -- on paper --------------------------------------------------------------------------------------


def impedance_ohm(c: float = 1.1, un_kv: float = 20.0, s_mva: float = 1000.0, rx: float = 0.1):
    return c * un_kv**2 / s_mva * (rx + 1j) / abs(rx + 1j)


LINE_OHM = 5 * (0.2 + 0.12j)


@pytest.mark.parametrize(("r_ohm", "x_ohm"), [(0, 0), (0.5, 0), (0.3, 0.4)])
def test_a_fault_behind_a_line_is_that_of_its_impedance(r_ohm, x_ohm):
    z = impedance_ohm() + LINE_OHM + complex(r_ohm, x_ohm)
    answer = solve(feeder(), r_fault_ohm=r_ohm, x_fault_ohm=x_ohm)
    there = at(answer, "busbars", "b2")
    assert there["ikss_ka"] == approx(1.1 * 20 / np.sqrt(3) / abs(z), rel=1e-12)
    assert (there["rk_ohm"], there["xk_ohm"]) == approx((z.real, z.imag), rel=1e-12)
    two = at(solve(feeder(), fault="2ph", r_fault_ohm=r_ohm, x_fault_ohm=x_ohm), "busbars", "b2")
    assert two["ikss_ka"] == approx(there["ikss_ka"] * np.sqrt(3) / 2, rel=1e-12)


def test_a_fault_to_earth_is_that_of_the_three_sequences():
    z1 = impedance_ohm() + LINE_OHM
    x0 = 1.5 * impedance_ohm().imag
    z0 = x0 * (0.2 + 1j) + 5 * (0.5 + 0.4j)
    answer = solve(feeder(), fault="1ph", r_fault_ohm=0.2)
    there = at(answer, "busbars", "b2")
    expected = np.sqrt(3) * 1.1 * 20 / abs(2 * z1 + z0 + 3 * 0.2)
    assert there["ikss_ka"] == approx(expected, rel=1e-12)
    assert there["rk0_ohm"] == approx(z0.real + 0.2, rel=1e-12)
    # All of it comes through the line.
    assert at(answer, "lines", "line")["ikss_to_ka"] == approx(expected, rel=1e-9)


def test_the_smallest_current_has_warm_lines_and_the_smallest_feeder():
    warm = 1 + 0.004 * (80 - 20)
    z = impedance_ohm(1.0, s_mva=600, rx=0.15) + 5 * (0.2 * warm + 0.12j)
    there = at(solve(feeder(), case="min"), "busbars", "b2")
    assert there["ikss_ka"] == approx(20 / np.sqrt(3) / abs(z), rel=1e-12)


def test_sources_at_one_bus_add_up():
    """grid ─┬─ motor, induction generator, synchronous machine: pandapower keeps the last alone."""
    elements = {
        "b": bus(20), "grid": grid("b", **FEED), "motor": element("Motor", bus="b", **MOTOR),
        "wind": element("Static Generator", bus="b", p_mw=1, generator_type="async", sn_mva=2,
                        lrc_pu=5, rx=0.1),
        "big": element("Generator", bus="b", **MACHINE),
        "small": element("Generator", bus="b", **{**MACHINE, "sn_mva": 5, "cos_phi": 0.9}),
    }  # fmt: skip
    along = (0.1 + 1j) / abs(0.1 + 1j)
    s_motor = 1 / (0.95 * 0.85)
    machines = []
    for sn, cos_phi in ((20, 0.8), (5, 0.9)):
        k_g = 1.1 / (1 + 0.2 * np.sqrt(1 - cos_phi**2))
        machines.append(k_g * (0.1 + 1j * 0.2 * 20**2 / sn))
    parts = [impedance_ohm(), 400 / 5 / s_motor * along, 400 / 5 / 2 * along, *machines]
    expected = 1.1 * 20 / np.sqrt(3) * abs(sum(1 / z for z in parts))
    assert at(solve(elements), "busbars", "b")["ikss_ka"] == approx(expected, rel=1e-12)


def test_a_converter_adds_its_current():
    """k times its rated current, over the impedance between it and the fault."""
    elements = feeder()
    elements["pv"] = element("Static Generator", bus="b2", p_mw=3, sn_mva=4, k=1.3)
    own = 1.3 * 4 / (np.sqrt(3) * 20)
    alone = solve(feeder())
    answer = solve(elements)
    there = at(answer, "busbars", "b2")["ikss_ka"]
    assert there == approx(at(alone, "busbars", "b2")["ikss_ka"] + own, rel=1e-12)
    assert at(answer, "busbars", "b1")["ikss_ka"] == approx(
        at(alone, "busbars", "b1")["ikss_ka"] + own, rel=1e-12
    )
    assert at(answer, "staticgenerators", "pv")["ikss_ka"] == approx(own, rel=1e-12)
    peak = np.sqrt(2) * (answer["factors"]["b2"]["kappa"] * (there - own) + own)
    assert at(answer, "busbars", "b2")["ip_ka"] == approx(peak, rel=1e-12)


def test_a_doubly_fed_machine_has_the_peak_that_its_maker_gives():
    elements = {
        "b": bus(20), "grid": grid("b", **{**FEED, "s_sc_max_mva": 1e-6}),
        "wind": element("Static Generator", bus="b", p_mw=5, generator_type="async_doubly_fed",
                        max_ik_ka=0.8, kappa=1.7, rx=0.1),
    }  # fmt: skip
    there = at(solve(elements), "busbars", "b")
    assert there["ikss_ka"] == approx(1.1 * 0.8 / (np.sqrt(2) * 1.7), rel=1e-6)
    assert there["ip_ka"] == approx(1.1 * 0.8, rel=1e-6)


def test_motors_and_converters_do_not_count_in_the_smallest_current():
    elements = feeder()
    elements["motor"] = element("Motor", bus="b2", pn_mech_mw=1, cos_phi=0.8)
    elements["pv"] = element("Static Generator", bus="b2", p_mw=3)
    assert column(solve(elements, case="min"), "ikss_ka") == column(
        solve(feeder(), case="min"), "ikss_ka"
    )


def test_a_generator_alone_feeds_its_island_and_decays():
    """I_b = |1 − jX/Z·(1 − μ)|·I″k, with μ of table and ratio"""
    elements = {"b": bus(20), "g": element("Generator", bus="b", **MACHINE)}
    answer = solve(elements, bus="b", t_min_s=0.05)
    z = 0.1 + 1j * 4
    ik = 1.1 * 20 / np.sqrt(3) / abs(z) / (1.1 / (1 + 0.2 * 0.6))
    mu = 0.71 + 0.51 * np.exp(-0.30 * ik / (20 / (np.sqrt(3) * 20)))
    there = at(answer, "busbars", "b")
    assert there["ikss_ka"] == approx(ik, rel=1e-12)
    assert there["ib_ka"] == approx(ik * abs(1 - 1j * z.imag / z * (1 - mu)), rel=1e-12)
    [source] = answer["faults"][0]["sources"]
    assert (source["element"], source["mu"]) == ("g", approx(mu, rel=1e-12))


def test_pole_pairs_decide_how_a_motor_decays():
    """q = 0.57 + 0.12·ln(P/p) at 0.1 s; 2 MW has two pole pairs where nobody says"""

    def q(**more: Any) -> float:
        elements = {
            "b": bus(20), "grid": grid("b", **{**FEED, "s_sc_max_mva": 20}),
            "m": element("Motor", bus="b", **{**MOTOR, "pn_mech_mw": 2.0, **more}),
        }  # fmt: skip
        sources = solve(elements, bus="b", t_min_s=0.1)["faults"][0]["sources"]
        return next(source["q"] for source in sources if source["element"] == "m")

    assert q() == q(pole_pairs=2) == approx(0.57)
    assert q(pole_pairs=1) == approx(0.57 + 0.12 * np.log(2))


def test_between_the_standards_instants_the_breaking_current_falls_steadily():
    elements = {"b": bus(20), "g": element("Generator", bus="b", **MACHINE)}
    times = [0, 0.01, 0.02, 0.035, 0.05, 0.1, 0.2, 0.25, 1]
    ib = [solve(elements, t_min_s=t)["results"]["busbars"][0]["ib_ka"] for t in times]
    assert ib == sorted(ib, reverse=True)
    assert ib[0] == solve(elements)["results"]["busbars"][0]["ikss_ka"]
    assert ib[-1] == approx(ib[-2], rel=1e-12)


@pytest.mark.parametrize("frequency", [50, 60])
def test_the_thermal_equivalent_is_that_of_the_frequency(frequency):
    """m = (e^(4f·T·ln(κ−1)) − 1)/(2f·T·ln(κ−1)); pandapower takes 50 Hz for all."""
    answer = solve(feeder(), frequency=frequency, tk_s=0.2)
    there, kappa = at(answer, "busbars", "b1"), answer["factors"]["b1"]["kappa"]
    exponent = 2 * frequency * 0.2 * np.log(kappa - 1)
    m = (np.exp(2 * exponent) - 1) / exponent
    assert there["ith_ka"] == approx(there["ikss_ka"] * np.sqrt(1 + m), rel=1e-9)


def test_a_source_without_resistance_peaks_at_twice_its_amplitude():
    """κ = 2 for R/X = 0; pandapower leaves such a source at the network's frequency."""
    elements = feeder()
    elements["grid"]["parameters"]["rx_max"] = 0
    there = at(solve(elements), "busbars", "b1")
    assert there["ip_ka"] == approx(2 * np.sqrt(2) * there["ikss_ka"], rel=1e-9)


def test_the_methods_of_kappa():
    """A ring of cables, R/X = 1.67: B adds 15 % where the fault is fed twice, radial does not."""
    elements = network()
    kappa = {
        name: {id_: answer["factors"][id_]["kappa"] for id_ in ("b1", "b3")}
        for name, answer in {
            "radial": solve(elements, topology="radial"),
            "auto B": solve(elements, kappa_method="B"),
            "meshed B": solve(elements, kappa_method="B", topology="meshed"),
        }.items()
    }
    there = at(solve(elements), "busbars", "b3")
    plain = 1.02 + 0.98 * np.exp(-3 * there["rk_ohm"] / there["xk_ohm"])
    assert kappa["radial"]["b3"] == approx(plain)
    assert kappa["auto B"]["b3"] == approx(1.15 * plain)
    assert kappa["auto B"]["b1"] == kappa["radial"]["b1"]
    assert kappa["meshed B"]["b1"] == approx(min(2, 1.15 * kappa["radial"]["b1"]))


@pytest.mark.parametrize(
    ("tolerance", "case", "c"),
    [(6, "max", 1.05), (10, "max", 1.1), (6, "min", 0.95), (10, "min", 0.9)],
)
def test_low_voltage_has_its_own_factor(tolerance, case, c):
    elements = {"b": bus(0.4), "grid": grid("b", **FEED)}
    answer = solve(elements, lv_tol_percent=tolerance, case=case)
    assert answer["factors"]["b"]["c"] == c


def test_a_two_phase_fault_behind_a_delta_loads_one_phase_of_the_other_side_most():
    """The textbook's 2 : 1 : 1: 2/√3 of the fault's current, by the ratio."""
    elements = {
        "b1": bus(110), "b2": bus(20), "grid": grid("b1", **FEED),
        "t": transformer("b1", "b2", **TRAFO_ZERO),
    }  # fmt: skip
    answer = solve(elements, fault="2ph", bus="b2")
    record = at(answer, "transformers", "t")
    assert record["ikss_lv_ka"] == approx(at(answer, "busbars", "b2")["ikss_ka"], rel=1e-9)
    assert record["ikss_hv_ka"] == approx(2 / np.sqrt(3) * record["ikss_lv_ka"] * 20 / 110)


def test_a_fault_to_earth_behind_a_delta_is_a_two_phase_load_of_the_other_side():
    """I_hv = I_k1/√3, by the ratio: nothing of the zero sequence passes the delta."""
    elements = {
        "b1": bus(110), "b2": bus(20), "grid": grid("b1", **FEED),
        "t": transformer("b1", "b2", **TRAFO_ZERO),
    }  # fmt: skip
    record = at(solve(elements, fault="1ph", bus="b2"), "transformers", "t")
    assert record["ikss_hv_ka"] == approx(record["ikss_lv_ka"] / np.sqrt(3) * 20 / 110)


# -- what is told ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["3ph", "2ph", "1ph"])
def test_what_elements_bring_adds_up_to_the_fault(fault):
    elements = network()
    elements["g"] = element("Generator", bus="b3", **MACHINE)
    del elements["wind"]
    answer = solve(elements, fault=fault, bus=["b3", "b2"])
    assert [fault["bus"] for fault in answer["faults"]] == ["b2", "b3"]
    for told in answer["faults"]:
        phasors = [
            part["ikss_ka"] * np.exp(1j * np.radians(part["ikss_degree"]))
            for part in told["contributions"]
        ]
        assert abs(sum(phasors)) == approx(told["ikss_ka"], rel=1e-9)
    brought = {part["element"] for part in answer["faults"][1]["contributions"]}
    assert brought == {"l1", "l2", "motor", "g"}
    assert answer["certificate"]["max_current_mismatch_ka"] < 1e-9


def test_only_the_named_bus_has_a_current():
    answer = solve(network(), bus="b3")
    assert [record["ikss_ka"] is not None for record in answer["results"]["busbars"]] == [
        False, False, True, False,
    ]  # fmt: skip
    assert "faults" not in solve(network())


def test_a_bus_is_found_by_its_name_where_only_one_bears_it():
    elements = feeder()
    elements["b2"]["name"] = "Village"
    assert solve(elements, bus="Village")["faults"][0]["bus"] == "b2"


def test_what_is_behind_power_electronics_is_named():
    elements = feeder()
    elements["store"] = {**element("Storage", bus="b2", p_mw=1), "name": "Battery"}
    [warning] = solve(elements)["warnings"]
    assert "Storage “Battery”" in warning


def test_what_nothing_feeds_has_no_current():
    elements = {**feeder(), "b9": bus(20), "lonely": element("Motor", bus="b9", **MOTOR)}
    answer = solve(elements)
    assert at(answer, "busbars", "b9")["ikss_ka"] is None
    assert any("Without supply" in warning for warning in answer["warnings"])
    assert problems(elements, bus="b9") == [("b9", "bus", "not-supplied")]


def test_a_network_without_any_source_is_refused():
    assert problems({"b": bus(20)}) == [(None, None, "no-source")]


# -- what is missing or wrong ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element_", "field", "settings"),
    [
        ("grid", "s_sc_max_mva", {}),
        ("grid", "rx_min", {"case": "min"}),
        ("grid", "x0x_max", {"fault": "1ph"}),
        ("grid", "r0x0_min", {"fault": "1ph", "case": "min"}),
        ("line", "endtemp_degree", {"case": "min"}),
        ("line", "x0_ohm_per_km", {"fault": "1ph"}),
        ("g", "rdss_ohm", {}),
        ("g", "cos_phi", {}),
        ("motor", "cos_phi_n", {}),
        ("pv", "k", {}),
        ("wind", "lrc_pu", {}),
        ("fed", "max_ik_ka", {}),
        ("t", "vector_group", {"fault": "1ph"}),
        ("t", "vkr0_percent", {"fault": "1ph"}),
    ],
)
def test_a_number_that_the_standard_needs_is_asked_for(element_, field, settings):
    elements = {
        **feeder(), "b3": bus(0.4), "t": transformer("b2", "b3", **{**TRAFO_ZERO, "vn_hv_kv": 20}),
        "g": element("Generator", bus="b2", **MACHINE),
        "motor": element("Motor", bus="b2", **MOTOR),
        "pv": element("Static Generator", bus="b2", p_mw=1, sn_mva=1, k=1.1),
        "wind": element("Static Generator", bus="b2", p_mw=1, sn_mva=1, lrc_pu=5, rx=0.1,
                        generator_type="async"),
        "fed": element("Static Generator", bus="b2", p_mw=1, max_ik_ka=1, kappa=1.7, rx=0.1,
                       generator_type="async_doubly_fed"),
    }  # fmt: skip
    assert solve(elements, **settings)["success"]
    del elements[element_]["parameters"][field]
    assert problems(elements, **settings) == [(element_, field, "missing-parameter")]
    elements[element_]["parameters"]["in_service"] = False
    assert solve(elements, **settings)["success"]


@pytest.mark.parametrize(
    ("setting", "value", "kind"),
    [
        ("fault", "4ph", "unknown-value"),
        ("case", "mean", "unknown-value"),
        ("topology", "star", "unknown-value"),
        ("kappa_method", "A", "unknown-value"),
        ("lv_tol_percent", 7, "unknown-value"),
        ("tk_s", 0, "out-of-bounds"),
        ("t_min_s", -1, "out-of-bounds"),
        ("r_fault_ohm", -1, "out-of-bounds"),
        ("x_fault_ohm", "x", "not-a-number"),
        ("inverse_y", "maybe", "not-a-flag"),
        ("bus", "b7", "unknown-bus"),
        ("bus", [], "missing-setting"),
        ("bus", 3, "wrong-form"),
        ("frequency", 400, "unsupported"),
        ("enforce_q_lims", True, "unsupported"),
        ("export_script", True, "unsupported"),
    ],
)
def test_a_setting_that_is_none_is_named(setting, value, kind):
    assert problems(feeder(), **{setting: value}) == [(None, setting, kind)]


def test_a_vector_group_without_known_zero_sequence_is_named():
    elements = {
        "b1": bus(110), "b2": bus(20), "grid": grid("b1", **FEED),
        "t": transformer("b1", "b2", **{**TRAFO_ZERO, "vector_group": "Dzn0"}),
    }  # fmt: skip
    assert problems(elements, fault="1ph") == [("t", "vector_group", "unsupported")]


def test_a_unit_must_be_where_its_generator_is():
    elements = {
        "b1": bus(110), "b2": bus(20), "b3": bus(20), "grid": grid("b1", **FEED),
        "t": transformer("b1", "b2"), "l": cable("b2", "b3"),
        "g": element("Generator", bus="b3", power_station_trafo="t", **MACHINE),
    }  # fmt: skip
    assert problems(elements) == [("g", "power_station_trafo", "contradiction")]


def test_a_series_capacitor_on_thyristors_is_refused_by_name():
    elements = feeder()
    elements["c"] = element(
        "TCSC", from_bus="b1", to_bus="b2", x_l_ohm=1, x_cvar_ohm=-10, set_p_to_mw=1,
        thyristor_firing_angle_degree=140,
    )  # fmt: skip
    assert problems(elements) == [("c", None, "unsupported")]
