"""Elements of fewer phases than three: what is judged, what is alive, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import solved
from bricks import bus, columns, decoded, element, grid, solve, transformer
from pytest import approx
from test_certificate import a_little, numbers
from test_opendss_single_phase import ALIKE, R, X, in_phases, line, load, on_line, unit

from electrisim import elements as e
from electrisim.problems import NotConvergedError, ProblemError
from electrisim.topology import Topology

UNBALANCED: dict[str, Any] = {"solver": "opendss", "mode": "unbalanced"}


# -- the certificate -------------------------------------------------------------------------------

JUDGED = (
    "loads to earth and between phases",
    "generation, storage and sun of one phase or two",
    "lines of two conductors and of one",
    "a single-phase transformer to earth with a tap, behind a pole with an impedance",
    "a centre-tapped transformer with 120 V and 240 V loads",
    "single-pole switches, one of them open",
    "a grid of one phase",
)


def answered(elements: dict[str, Any]) -> solved.Answer:
    found = in_phases(elements)
    settings, network = decoded(elements, **UNBALANCED, frequency=60)
    tables = {kind: dict(table) for kind, table in found.tables.items()}
    return solved.Answer(network, Topology(network), settings, tables)


@pytest.mark.parametrize("case", JUDGED)
def test_no_single_number_can_be_changed_unnoticed(case):
    answer = answered(ALIKE[case][0])
    assert answer.certify().max_p_mismatch_mw < 1e-6
    unnoticed = []
    for kind, column, row in numbers(answer):
        little = a_little(answer, kind, column, row)
        if (
            kind is e.Bus
            and column.startswith("vm_")
            and np.isnan(answer.tables[kind]["vm_pu"][row])
        ):
            # Without a positive sequence to compare with, what 50 kVA of 2 % carry tells.
            little = 1e-3
        id_ = answer.network.rows(kind).ids[row]
        try:
            answer.change(id_, column, lambda value, by=little: value + by).certify()
        except NotConvergedError:
            continue
        unnoticed.append((id_, column))
    assert not unnoticed


def test_a_load_on_another_phase_than_asked_for_is_refused():
    """The answer to the same load on phase b, given for one on phase c."""
    asked, other = (on_line(d=load("b2", phase, 0.5, 0.1)) for phase in "cb")
    settings, network = decoded(asked, **UNBALANCED, frequency=60)
    given = answered(other)
    with pytest.raises(NotConvergedError, match="add up"):
        solved.Answer(network, Topology(network), settings, given.tables).certify()


# -- what is alive ---------------------------------------------------------------------------------


def alive(elements: dict[str, Any]) -> dict[str, str]:
    """The phases of each bus that are supplied."""
    _, network = decoded(elements, **UNBALANCED)
    phases = Topology(network).phases
    buses = [id_ for id_, each in elements.items() if each["typ"] == "Bus"]
    return {
        id_: "".join(np.array(list("abc"))[has]) for id_, has in zip(buses, phases, strict=True)
    }


def single(from_bus: str, to_bus: str, phases: str, **more: Any) -> dict[str, Any]:
    """A line of one conductor, or by matrices of two."""
    if len(phases) == 2:
        matrices = {"r_matrix_ohm_per_km": R[:2], "x_matrix_ohm_per_km": X[:2]}
        return element(
            "Line", from_bus=from_bus, to_bus=to_bus, length_km=1, phases=phases, **matrices, **more
        )
    values = {"r_ohm_per_km": 0.8, "x_ohm_per_km": 0.7, "c_nf_per_km": 8, "max_i_ka": 0.2}
    return line(from_bus, to_bus, phases=phases, **values, **more)


def test_a_phase_is_supplied_through_conductors_of_its_own():
    """b1 ── b2 ─bc─ b3 ─c─ b4"""
    elements = on_line(
        b3=bus(12.47), b4=bus(12.47), l2=single("b2", "b3", "bc"), l3=single("b3", "b4", "c")
    )
    assert alive(elements) == {"b1": "abc", "b2": "abc", "b3": "bc", "b4": "c"}


def test_a_transformer_hands_on_what_reaches_all_of_its_side():
    """b2 ─ c to earth : between a and b ─ b4; b4 does not reach a three-phase unit."""
    elements = on_line(
        b4=bus(0.24), b5=bus(0.24), t1=unit("b2", "b4", phases="c", lv_phases="ab"),
        t2=transformer("b4", "b5", vn_hv_kv=0.24, vn_lv_kv=0.24, sn_mva=0.1, vector_group="Dyn1"),
    )  # fmt: skip
    assert alive(elements) == {"b1": "abc", "b2": "abc", "b4": "ab", "b5": ""}


def test_two_phases_make_three_in_an_open_delta():
    assert alive(on_line(
        b3=bus(4.16), t1=unit("b2", "b3", phases="a", lv_phases="ab"),
        t2=unit("b2", "b3", phases="b", lv_phases="bc"),
    ))["b3"] == "abc"  # fmt: skip


def test_an_open_pole_leaves_a_phase_dead_and_what_is_on_it_without_results():
    """b2 ─a, c closed, b open─ b3 (load on a); b3 ─b─ b4 (load)"""
    poles = {
        f"k{p}": element("Switch", bus="b2", element="b3", phases=p, closed=p != "b") for p in "abc"
    }
    elements = on_line(
        b3=bus(12.47), b4=bus(12.47), **poles, d3=load("b3", "a", 0.2, 0), d4=load("b4", "b", 1, 0),
        l4=single("b4", "b2", "b", in_service=False),
    )  # fmt: skip
    assert alive(elements)["b3"] == "ac"
    found = columns(in_phases(elements), "Load")
    assert found["p_mw"][0] == approx(0.2)
    assert np.isnan(found["p_mw"][1])


# -- what is refused -------------------------------------------------------------------------------


def problems(elements: dict[str, Any], **settings: Any) -> set[tuple[str, str | None, str | None]]:
    with pytest.raises(ProblemError) as caught:
        solve(elements, **{**UNBALANCED, **settings})
    return {(p.kind, p.element, p.field) for p in caught.value.problems}


LATERAL = on_line(b3=bus(12.47), l2=single("b2", "b3", "c"))
#: Elements beside a lateral of phase c at b3, and what is wrong with them.
WRONG: dict[str, tuple[dict[str, Any], set[tuple[str, str | None, str | None]]]] = {
    "a load on a phase that its bus lacks": (
        {"d": load("b3", "b", 1, 0)}, {("no-phase", "d", "bus")}
    ),
    "a load between two phases of which its bus has one": (
        {"d": load("b3", "bc", 1, 0)}, {("no-phase", "d", "bus")}
    ),
    "a three-phase load on a lateral": (
        {"d": load("b3", "abc", 1, 0)}, {("no-phase", "d", "bus")}
    ),
    "a three-phase line beyond a lateral": (
        {"b4": bus(12.47), "l3": line("b3", "b4")},
        {("no-phase", "l3", "from_bus"), ("no-phase", "l3", "to_bus")},
    ),
    "a three-phase transformer beyond a lateral": (
        {"b4": bus(12.47), "l3": single("b3", "b4", "c"),
         "t": transformer("b3", "b4", vn_hv_kv=12.47, vn_lv_kv=12.47, vector_group="YNyn0")},
        {("no-phase", "t", "hv_bus"), ("no-phase", "t", "lv_bus")},
    ),
    "a load with equal powers in three phases on a lateral": (
        {"a": element("Asymmetric Load", bus="b3", p_c_mw=1)}, {("no-phase", "a", "bus")}
    ),
    "a load to earth that says delta, and one between phases that says wye": (
        {"d1": load("b3", "c", 1, 0, type="delta"), "d2": load("b2", "ab", 1, 0, type="wye")},
        {("contradiction", "d1", "type"), ("contradiction", "d2", "type")},
    ),
    "a switch with one pole at the end of a line": (
        {"k": element("Switch", bus="b3", element="l2", phases="c")},
        {("contradiction", "k", "phases")},
    ),
    "a three-phase transformer with low-voltage phases": (
        {"b4": bus(4.16), "t": transformer("b2", "b4", lv_phases="a", centre_tapped=True)},
        {("contradiction", "t", "lv_phases"), ("contradiction", "t", "centre_tapped")},
    ),
    "a single-phase transformer with what only three phases have": (
        {"b4": bus(0.24), "t": unit("b2", "b4", phases="a", lv_phases="abc", vk0_percent=4,
                                    vector_group="YNyn0", shift_degree=30, tap_step_degree=5)},
        {("contradiction", "t", name) for name in
         ("lv_phases", "vk0_percent", "vector_group", "shift_degree", "tap_step_degree")},
    ),
    "a centre tap between a phase and earth": (
        {"b4": bus(0.24), "t": unit("b2", "b4", phases="a", centre_tapped=True)},
        {("contradiction", "t", "lv_phases")},
    ),
    "matrices of another size, without a part, and without inverse": (
        {"l3": line("b1", "b2", phases="ab"),
         "l4": element("Line", from_bus="b1", to_bus="b2", length_km=1, r_matrix_ohm_per_km=R),
         "l5": line("b1", "b2", r_matrix_ohm_per_km=[[1], [1, 1], [1, 1, 1]],
                    x_matrix_ohm_per_km=[[1], [1, 1], [1, 1, 1]])},
        {*(("wrong-form", "l3", f"{part}_per_km") for part in
           ("r_matrix_ohm", "x_matrix_ohm", "c_matrix_nf")),
         ("missing-parameter", "l4", "x_matrix_ohm_per_km"),
         ("no-impedance", "l5", "x_matrix_ohm_per_km")},
    ),
    "one conductor with a zero sequence, and two without": (
        {"l3": single("b1", "b2", "a", r0_ohm_per_km=1),
         "l4": line("b1", "b2", phases="ab", r_ohm_per_km=1, x_ohm_per_km=1, c_nf_per_km=1,
                    max_i_ka=1, r0_ohm_per_km=1, x0_ohm_per_km=1)},
        {("contradiction", "l3", "r0_ohm_per_km"), ("missing-parameter", "l4", "c0_nf_per_km")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused_by_name(case):
    elements, expected = WRONG[case]
    assert problems({**LATERAL, **elements}) == expected


def test_a_matrix_that_is_no_triangle_is_refused_whatever_way_it_is_read():
    for length, matrix in itertools.product((1, "1"), ([[1, 2], [3]], [], [[]])):
        bad = element("Line", from_bus="b1", to_bus="b2", length_km=length,
                      r_matrix_ohm_per_km=matrix, x_matrix_ohm_per_km=X)  # fmt: skip
        with pytest.raises(ProblemError) as caught:
            decoded({**on_line(), "l9": bad}, **UNBALANCED)
        found = {(p.kind, p.element, p.field) for p in caught.value.problems}
        assert ("wrong-form", "l9", "r_matrix_ohm_per_km") in found


FEW: dict[str, Any] = {
    "grid": grid("b1", phases="a"),
    "l2": single("b1", "b2", "a"),
    "k": element("Switch", bus="b1", element="b2", phases="a"),
    "t": unit("b1", "b2", phases="a"),
    "d": load("b1", "a", 1, 0),
    "s": element("Static Generator", bus="b1", phases="ab", p_mw=1),
    "e": element("Storage", bus="b1", phases="b", p_mw=1),
    "p": element("PVSystem", bus="b1", phases="b", pmpp_kw=1),
    "c": element("Capacitor", bus="b1", phases="ca", q_mvar=-1),
    "r": element("Shunt Reactor", bus="b1", phases="a", q_mvar=1),
    "h": element("Shunt", bus="b1", phases="a", q_mvar=1),
}


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "pandapower"},
        {"solver": "pandapower", "mode": "dc"},
        {"solver": "pandapower", "mode": "unbalanced"},
        {"solver": "opendss"},
    ],
)
def test_who_has_one_phase_for_three_refuses_each_element_by_name(settings):
    elements = {"b1": bus(12.47), "b2": bus(12.47), "l1": line("b1", "b2"), **FEW}
    with pytest.raises(ProblemError) as caught:
        solve(elements, **settings)
    assert caught.value.kind == "unsupported"
    found = {(p.element, p.field) for p in caught.value.problems if p.field != "vector_group"}
    assert {(id_, "phases") for id_ in FEW} <= found
    assert ("l1", "r_matrix_ohm_per_km") in found
    assert all(p.message for p in caught.value.problems)


def test_a_line_that_also_has_sequence_values_takes_part_in_balanced_studies():
    both = {"r_ohm_per_km": 0.2, "x_ohm_per_km": 0.3, "c_nf_per_km": 12, "max_i_ka": 0.3}
    matrices = {"r_matrix_ohm_per_km": R, "x_matrix_ohm_per_km": X}
    elements = on_line(d=load("b2", "abc", 1, 0.2))
    elements["l1"] = line("b1", "b2", **both, **matrices)
    for solver in ("pandapower", "opendss"):
        plain = {**elements, "l1": line("b1", "b2", **both)}
        found, expected = (columns(solve(each, solver=solver), "Bus") for each in (elements, plain))
        assert found["vm_pu"] == approx(expected["vm_pu"], abs=1e-12)


def test_a_grid_of_one_phase_has_no_short_circuit_impedance():
    parts = {"s_sc_max_mva": 100, "rx_max": 0.1, "r0x0_max": 0.1, "x0x_max": 1}
    elements = {**ALIKE["a grid of one phase"][0], "grid": grid("b1", phases="b", **parts)}
    assert problems(elements, source_impedance=True) == {("unsupported", "grid", "phases")}


def test_grids_of_different_phases_may_differ_at_one_bus():
    three = {f"g{a}": grid("b1", phases=a, va_degree=-120.0 * k) for k, a in enumerate("abc")}
    elements = {**on_line(d=load("b2", "abc", 1, 0.2)), **three}
    del elements["grid"]
    whole = {**on_line(d=load("b2", "abc", 1, 0.2)), "grid": grid("b1")}
    found, expected = (columns(in_phases(each), "Bus") for each in (elements, whole))
    for a in "abc":
        assert found[f"vm_{a}_pu"] == approx(expected[f"vm_{a}_pu"], abs=1e-6)


def test_a_winding_far_from_the_voltage_of_its_phase_is_told():
    """7.2 kV at a bus of 7.2 kV, whose phases are at 4.16 kV to earth."""
    elements = {
        "b1": bus(7.2), "b2": bus(0.416), "grid": grid("b1", phases="a"),
        "t": unit("b1", "b2", phases="a"),
    }  # fmt: skip
    (warning,) = decoded(elements, **UNBALANCED)[1].warnings
    assert "vn_hv_kv 7.2 at a bus of vn_kv 7.2" in warning and "4.157 kV" in warning


# -- controllers -----------------------------------------------------------------------------------

REGULATED = {
    "tap_side": "lv", "tap_neutral": 0, "tap_pos": 0, "tap_min": -16, "tap_max": 16,
    "tap_step_percent": 0.625, "tap_control": "discrete", "vm_lower_pu": 1.03, "vm_upper_pu": 1.05,
}  # fmt: skip
ACTING = {"run_control": True, "frequency": 60}


def regulators(**more: Any) -> dict[str, Any]:
    """b2 ─ three regulators of 1.03…1.05 pu ─ b3 ── 2 km ── b4 with unequal loads."""
    units = {
        f"r{a}": unit(
            "b2", "b3", phases=a, sn_mva=2, vn_hv_kv=7.2, vn_lv_kv=7.2, **REGULATED, **more
        )
        for a in "abc"
    }
    powers = {f"d{a}": load("b4", a, p, 0.3 * p) for a, p in (("a", 1.2), ("b", 0.4), ("c", 0.8))}
    return on_line(b3=bus(12.47), b4=bus(12.47), **units, **powers, l2=line("b3", "b4"))


def test_a_regulator_holds_its_own_phase():
    found = solve(regulators(), **UNBALANCED, **ACTING)
    taps = [each.tap_pos for each in found.beside["controllers"]]
    assert len(set(taps)) > 1
    for a in "abc":
        assert 1.03 <= columns(found, "Bus")[f"vm_{a}_pu"][2] <= 1.05


def test_a_regulator_looks_behind_the_drop_of_its_line():
    """With r and x of the line to b4 it is b4 that has its voltage, but for mutual impedances."""
    matrices = {f"{part}_matrix_ohm_per_km": [[z], [0, z], [0, 0, z]]
                for part, z in (("r", 0.3), ("x", 0.6))}  # fmt: skip
    elements = regulators(line_drop_r_ohm=0.6, line_drop_x_ohm=1.2)
    elements["l2"] = element("Line", from_bus="b3", to_bus="b4", length_km=2, **matrices)
    found = solve(elements, **UNBALANCED, **ACTING)
    for a, told in zip("abc", found.beside["controllers"], strict=True):
        there = columns(found, "Bus")[f"vm_{a}_pu"][3]
        assert told.on_target and 1.03 <= there <= 1.05
        assert told.vm_pu == approx(there, abs=1e-6)


def test_a_three_phase_regulator_watches_its_first_phase():
    plate = {"vn_hv_kv": 12.47, "vn_lv_kv": 12.47, "sn_mva": 6, "vk_percent": 1, "pfe_kw": 0,
             "i0_percent": 0, "vkr_percent": 0.1}  # fmt: skip
    bank = transformer("b2", "b3", vector_group="YNyn0", **plate, **REGULATED)
    elements = {id_: each for id_, each in regulators().items() if not id_.startswith("r")}
    found = solve({**elements, "r": bank}, **UNBALANCED, **ACTING)
    (told,) = found.beside["controllers"]
    assert told.vm_pu == approx(columns(found, "Bus")["vm_a_pu"][2], abs=1e-9)
    assert 1.03 <= told.vm_pu <= 1.05


@pytest.mark.parametrize(
    ("elements", "settings", "expected"),
    [
        (
            {"c": element("Capacitor", bus="b4", q_mvar=-0.1, max_step=3, step_control="voltage",
                          vm_set_pu=1, vm_tol_pu=0.01)},
            UNBALANCED, {("unsupported", "c", None)},
        ),
        (
            {"t": transformer("b2", "b4", vn_hv_kv=12.47, vn_lv_kv=12.47, vector_group="Yd1",
                              line_drop_r_ohm=1, **REGULATED)},
            UNBALANCED, {("unsupported", "t", "line_drop_r_ohm")},
        ),
    ],
)  # fmt: skip
def test_what_is_not_controlled_in_unequal_phases_is_refused(elements, settings, expected):
    assert problems({**regulators(), **elements}, **settings, **ACTING) == expected


@pytest.mark.parametrize("solver", ["pandapower", "opendss"])
def test_a_line_drop_needs_phases(solver):
    elements = {
        "b1": bus(20), "b2": bus(20), "g": grid("b1"), "d": load("b2", "abc", 1, 0),
        "t": transformer("b1", "b2", vn_hv_kv=20, line_drop_x_ohm=1, **REGULATED),
    }  # fmt: skip
    found = problems(elements, solver=solver, mode="ac", run_control=True)
    assert found == {("unsupported", "t", "line_drop_x_ohm")}


def test_a_transformer_without_supply_has_no_results():
    """b1 ── b2, and b3 (out of service) ─ t ─ b4: all branches of a kind may be dead."""
    elements = on_line(
        b3=bus(12.47, in_service=False), b4=bus(0.416), d=load("b2", "a", 0.2, 0.1),
        t=unit("b3", "b4", phases="c"),
    )  # fmt: skip
    found = columns(in_phases(elements), "Transformer")
    assert all(np.isnan(values[0]) for values in found.values())
