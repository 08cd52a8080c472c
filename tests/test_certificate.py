"""The certificate: which answers it accepts, and the lies that it refuses by name.

Answers come from pandapower and OpenDSS driven by hand, or from a sheet of paper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import opendssdirect as dss
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from solved import (
    CASES,
    Answer,
    arrays,
    asked,
    bus,
    by_hand,
    element,
    generator,
    line,
    load,
    ring,
    switch,
    without,
)

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.problems import NotConvergedError

#: Both engines iterate to 1e-8 MVA or better.
SOLVED = 1e-6


@pytest.fixture(scope="module")
def solved() -> Callable[[str], Answer]:
    """Cases by name, solved once."""
    known: dict[str, Answer] = {}

    def find(name: str) -> Answer:
        if name not in known:
            elements, settings = CASES[name]
            known[name] = by_hand(elements, **settings)
        return known[name]

    return find


# -- what is accepted ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_a_solution_of_pandapower_is_accepted(name: str, solved: Callable[[str], Answer]) -> None:
    certificate = solved(name).certify()
    assert certificate.max_p_mismatch_mw < SOLVED
    assert certificate.max_q_mismatch_mvar < SOLVED
    assert certificate.max_setpoint_error_mw < SOLVED
    assert certificate.max_setpoint_error_mvar < SOLVED
    assert certificate.max_voltage_mismatch_pu < 1e-9
    assert certificate.max_setpoint_error_pu < 1e-9


def paper() -> Answer:
    """grid (20 kV) ── 4 Ω reactance ── load at 19 kV, lagging by δ with sin δ = 0.1

    P = U₁·U₂·sin δ/X = 20·19·0.1/4 = 9.5 MW,
    Q₁ = (U₁² − U₁·U₂·cos δ)/X, Q₂ = (U₁·U₂·cos δ − U₂²)/X.
    """
    turned = 20 * 19 * np.sqrt(0.99)
    q1, q2 = (400 - turned) / 4, (turned - 361) / 4
    delta = np.rad2deg(np.arcsin(0.1))
    network, topology, settings = asked(
        {
            "a": bus(20.0),
            "b": bus(20.0),
            "grid": element("External Grid", bus="a"),
            "l": line("a", "b", length_km=10.0, r_ohm_per_km=0.0, c_nf_per_km=0.0),
            "load": load("b", 9.5, q2),
        }  # fmt: skip
    )
    tables = {
        e.Bus: {
            "vm_pu": [1.0, 0.95], "va_degree": [0.0, -delta], "p_mw": [-9.5, 9.5],
            "q_mvar": [-q1, q2],
        },
        e.ExternalGrid: {"p_mw": [9.5], "q_mvar": [q1]},
        e.Line: {"p_from_mw": [9.5], "q_from_mvar": [q1], "p_to_mw": [-9.5], "q_to_mvar": [-q2]},
        e.Load: {"p_mw": [9.5], "q_mvar": [q2]},
    }  # fmt: skip
    return Answer(network, topology, settings, arrays(tables))


def test_a_solution_on_paper_is_accepted() -> None:
    certificate = paper().certify()
    assert certificate.max_p_mismatch_mw < 1e-12
    assert certificate.max_q_mismatch_mvar < 1e-12
    assert certificate.max_setpoint_element is None


def test_an_open_end_takes_the_voltage_that_the_line_imposes() -> None:
    """Ferranti: an unloaded line of X = 8 Ω and B = 100 µS at its end lifts 1/(1 − X·B/2)."""
    elements = ring(s=switch("b1", "l1", closed=False))
    x, b = 8.0, 2 * np.pi * 50 * 9e-9 * 20
    elements["l1"] = line("b0", "b1", r_ohm_per_km=0.0)
    lines = by_hand(elements).tables[e.Line]
    assert lines["vm_to_pu"][0] == pytest.approx(1.02 / (1 - x * b / 2), rel=1e-12)
    assert by_hand(elements).certify().max_voltage_mismatch_pu < 1e-12


# -- lies ------------------------------------------------------------------------------------------


def test_a_lie_is_told_with_its_element_and_its_numbers() -> None:
    error = paper().change("load", "p_mw", lambda _: 1.5).refused()
    told = error.problems[0]
    assert (told.kind, told.element) == ("not-converged", "load")
    assert told.message == (
        "The engine's answer is no solution. Load “load” was asked for 9.5 MW and got 1.5 MW."
    )
    assert error.extra["certificate"].max_setpoint_error_mw == pytest.approx(8.0)
    assert error.extra["certificate"].max_setpoint_element == "load"
    cause = error.extra["diagnosis"][0]
    assert cause["elements"] == ["load"]
    assert cause["evidence"] == {"unit": "MW", "asked": 9.5, "delivered": 1.5}


class Circuit(NamedTuple):
    """OpenDSS driven by hand: grid (20 kV) ── 5 km ── one load of constant power."""

    load_mw: float
    frequency: float = 50.0

    def answer(self) -> Answer:
        for command in (
            "clear",
            f"set defaultbasefrequency={self.frequency}",
            "new circuit.c bus1=a basekv=20 pu=1 z1=[0,1e-6] z0=[0,1e-6]",
            "new line.l bus1=a bus2=b phases=3 length=5 units=none r1=0.2 x1=0.12 r0=0.2 x0=0.12"
            " c1=260 c0=260",
            f"new load.d bus1=b phases=3 kv=20 kw={1e3 * self.load_mw} kvar=0 model=1 vminpu=1e-4"
            " vmaxpu=10",
            "set tolerance=1e-9",
            "solve",
        ):
            dss.Text.Command(command)
        assert dss.Solution.Converged()
        network, topology, settings = asked(
            {
                "a": bus(20.0),
                "b": bus(20.0),
                "grid": element("External Grid", bus="a"),
                "l": line(
                    "a", "b", length_km=5.0, r_ohm_per_km=0.2, x_ohm_per_km=0.12, c_nf_per_km=260.0
                ),
                "load": load("b", self.load_mw),
            },
            solver="opendss",
        )  # fmt: skip
        voltage = np.array([self._volts(bus) for bus in "ab"]) / (20e3 / np.sqrt(3))
        source, drawn = self._mva("vsource.source")[0], self._mva("load.d")[0]
        ends = self._mva("line.l")
        tables = {
            e.Bus: {"vm_pu": np.abs(voltage), "va_degree": np.rad2deg(np.angle(voltage))},
            e.ExternalGrid: {"p_mw": [-source.real], "q_mvar": [-source.imag]},
            e.Line: {
                "p_from_mw": [ends[0].real], "q_from_mvar": [ends[0].imag],
                "p_to_mw": [ends[1].real], "q_to_mvar": [ends[1].imag],
            },
            e.Load: {"p_mw": [drawn.real], "q_mvar": [drawn.imag]},
        }  # fmt: skip
        return Answer(network, topology, settings, arrays(tables))

    @staticmethod
    def _volts(bus: str) -> complex:
        dss.Circuit.SetActiveBus(bus)
        real, imaginary = dss.Bus.Voltages()[:2]
        return complex(real, imaginary)

    @staticmethod
    def _mva(name: str) -> np.ndarray:
        """What enters an element at each end."""
        dss.Circuit.SetActiveElement(name)
        flat = np.array(dss.CktElement.Powers()) / 1e3
        conductors = (flat[0::2] + 1j * flat[1::2]).reshape(dss.CktElement.NumTerminals(), -1)
        return conductors[:, :3].sum(axis=1)


def test_a_possible_load_on_opendss_is_accepted() -> None:
    certificate = Circuit(load_mw=5.0).answer().certify()
    assert certificate.max_setpoint_error_mw < SOLVED
    assert certificate.max_p_mismatch_mw < SOLVED


def test_an_impossible_load_that_opendss_calls_converged_is_refused() -> None:
    error = Circuit(load_mw=1000.0).answer().refused()
    assert error.problems[0].element == "load"
    assert "was asked for 1000 MW and got" in error.problems[0].message
    assert error.extra["diagnosis"][0]["evidence"]["delivered"] < 100


def test_another_frequency_on_opendss_is_refused() -> None:
    error = Circuit(load_mw=5.0, frequency=60.0).answer().refused()
    assert error.problems[0].element == "l"


def test_another_frequency_on_pandapower_is_refused() -> None:
    elements, _ = CASES["lines"]
    answer = by_hand(elements, frequency=50.0)
    network, topology, settings = asked(elements, frequency=60.0)
    lie = Answer(network, topology, settings, answer.tables)
    assert lie.refused().problems[0].element in ("l1", "l2", "l3")


@pytest.mark.parametrize(
    ("id_", "name"),
    [("motor", "consumers and static generators"), ("bank", "consumers and static generators"),
     ("ward", "an extended ward"), ("gen", "a generator"), ("z", "an impedance")],
)  # fmt: skip
def test_an_element_that_an_engine_leaves_out_is_refused(id_: str, name: str) -> None:
    elements, settings = CASES[name]
    error = by_hand(elements, without(elements, id_), **settings).refused()
    assert error.problems[0].element == id_
    assert "has no result" in error.problems[0].message


@pytest.mark.parametrize("id_", ["motor", "bank"])
def test_an_element_that_only_its_own_row_knows_leaves_its_bus_unbalanced(
    id_: str, solved: Callable[[str], Answer]
) -> None:
    """The row of an element that was not in the equations, filled in from its set-point."""
    name = "consumers and static generators"
    elements, settings = CASES[name]
    answer, honest = by_hand(elements, without(elements, id_), **settings), solved(name)
    kind, row = honest.network.ids[id_]
    for column, values in answer.tables[kind].items():
        values[row] = honest.tables[kind][column][row]
    elements_there = [problem.element for problem in answer.refused().problems]
    assert "b2" in elements_there


MISREAD = [
    ("a transformer", "t", "tap_side", "lv"),
    ("a transformer", "t", "tap_pos", 4.0),
    ("a transformer", "t", "parallel", 2),
    ("no angles", "t", "vkr_percent", 0.8),
    ("a star", "u", "shift_lv_degree", 0.0),
    ("a star with its tap at the terminal", "u", "tap_side", "lv"),
    ("an impedance", "z", "rtf_pu", 0.01),
    ("lines", "l1", "g_us_per_km", 0.0),
    ("warm lines", "l1", "temperature_degree_celsius", 20.0),
    ("switches between buses", "resists", "z_ohm", 0.6),
    ("lines", "load", "q_mvar", -12.0),
    ("lines", "load", "scaling", 0.9),
    ("lines", "grid", "va_degree", 0.0),
    ("loads that follow their voltage", "load", "const_z_p_percent", 20.0),
    ("consumers and static generators", "motor", "efficiency_percent", 100.0),
    ("consumers and static generators", "shunt", "vn_kv", 110.0),
    ("consumers and static generators", "bank", "step", 3.0),
    ("consumers and static generators", "battery", "p_mw", 3.0),
    ("an extended ward", "ward", "vm_pu", 1.0),
    ("an extended ward", "ward", "x_ohm", 9.0),
    ("a generator", "gen", "vm_pu", 1.029),
    ("a generator", "gen", "p_mw", 19.0),
    ("DC lines", "there", "loss_mw", 0.2),
    ("thyristors and a compensator", "svc", "x_cvar_ohm", -9.0),
    ("thyristors and a compensator", "l2", "x_l_ohm", 1.3),
    ("thyristors and a compensator", "ssc", "x_ohm", 6.0),
    ("converters", "v1", "control_value_dc", -6.0),
    ("converters", "v2", "r_dc_ohm", 0.5),
    ("converters", "cable", "r_ohm_per_km", 0.2),
    ("linear", "l2", "x_ohm_per_km", 0.3),
    ("three unequal phases", "unequal", "p_a_mw", 0.06),
    ("three unequal phases", "t", "tap_pos", -1.0),
    ("three unequal phases", "l", "r0_ohm_per_km", 0.2),
]


@pytest.mark.parametrize(("name", "id_", "field", "value"), MISREAD)
def test_an_element_that_was_misread_is_refused(
    name: str, id_: str, field: str, value: Any, solved: Callable[[str], Answer]
) -> None:
    """The request asks for another value than what was solved."""
    elements, settings = CASES[name]
    parameters = {**elements[id_]["parameters"], field: value}
    other = {**elements, id_: {**elements[id_], "parameters": parameters}}
    network, topology, read = asked(other, **settings)
    lie = Answer(network, topology, read, solved(name).tables)
    assert lie.refused().problems[0].element == id_


def test_a_generator_beyond_its_limit_is_refused() -> None:
    """It holds its voltage, but with 26 Mvar where it has 5."""
    elements, settings = CASES["a generator at its limit"]
    free = {**elements, "gen": generator()}
    error = by_hand(elements, free, enforce_q_lims=True).refused()
    assert error.problems[0].element == "gen"
    assert "beyond its limit of 5 Mvar" in error.problems[0].message


def test_a_generator_that_gives_up_its_voltage_for_nothing_is_refused() -> None:
    elements, settings = CASES["a generator at its limit"]
    tighter = {
        **elements,
        "gen": generator(max_q_mvar=4.0, min_q_mvar=-5.0),
    }
    error = by_hand(elements, tighter, enforce_q_lims=True).refused()
    assert error.problems[0].element == "gen"
    assert "was asked to hold 1.03 pu" in error.problems[0].message


def test_a_generator_at_the_wrong_one_of_its_limits_is_refused() -> None:
    """pandapower leaves it at its lower limit, where another put it, with its voltage too low."""
    elements = ring(
        strong=generator(bus="b2", p_mw=1.0, vm_pu=1.08, min_q_mvar=-5.0, max_q_mvar=1.0),
        gen=generator(vm_pu=1.02, min_q_mvar=-2.0, max_q_mvar=60.0),
        heavy=element("Load", bus="b2", p_mw=20.0, q_mvar=60.0),
    )
    error = by_hand(elements, enforce_q_lims=True).refused()
    assert error.problems[0].element == "gen"
    assert "was asked to hold 1.02 pu" in error.problems[0].message


def test_a_firing_angle_beyond_its_limits_is_refused() -> None:
    """pandapower takes the limits and does not keep them."""
    elements, settings = CASES["thyristors and a compensator"]
    svc = {**elements["svc"]["parameters"], "max_angle_degree": 120.0}
    error = by_hand({**elements, "svc": element("SVC", **svc)}).refused()
    assert error.problems[0].element == "svc"


@pytest.mark.parametrize(
    ("column", "value"), [("i_ka", lambda i: 1.1 * i), ("i_from_ka", lambda i: i + 0.01)]
)
def test_a_current_that_does_not_fit_the_voltages_is_refused(
    column: str, value: Callable[[float], float], solved: Callable[[str], Answer]
) -> None:
    error = solved("lines").change("l2", column, value).refused()
    assert error.problems[0].element == "l2"
    assert " kA" in error.problems[0].message


@pytest.mark.parametrize("lie", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("id_", "column"),
    [("b1", "vm_pu"), ("b1", "va_degree"), ("l1", "p_to_mw"), ("l1", "i_ka"), ("load", "q_mvar"),
     ("gen", "q_mvar"), ("grid", "p_mw")],
)  # fmt: skip
def test_what_is_not_a_number_at_a_living_element_is_refused(
    id_: str, column: str, lie: float, solved: Callable[[str], Answer]
) -> None:
    error = solved("a generator").change(id_, column, lambda _: lie).refused()
    assert error.problems[0].element == id_
    assert "number" in error.problems[0].message


def test_voltages_of_nought_are_refused(solved: Callable[[str], Answer]) -> None:
    """What OpenDSS makes of a circuit whose frequency is set after it was made."""
    answer = solved("lines")
    for id_ in ("b0", "b1", "b2"):
        answer = answer.change(id_, "vm_pu", lambda _: 0.0)
    assert answer.refused().problems[0].element is not None


@pytest.mark.parametrize("kind", [e.Bus, e.Load, e.Line, e.StaticGenerator, e.Switch])
def test_transposed_rows_are_refused(kind: type[Element], solved: Callable[[str], Answer]) -> None:
    elements = ring(
        more=element("Load", bus="b1", p_mw=10.0, q_mvar=1.0),
        one=element("Static Generator", bus="b1", p_mw=1.0),
        two=element("Static Generator", bus="b2", p_mw=2.0),
        b3=bus(),
        b4=bus(),
        s1=element("Switch", bus="b1", element="b3"),
        s2=element("Switch", bus="b2", element="b4"),
        load3=element("Load", bus="b3", p_mw=3.0),
        load4=element("Load", bus="b4", p_mw=4.0),
    )
    answer = by_hand(elements)
    answer.certify()
    turned = {name: np.roll(values, 1) for name, values in answer.tables[kind].items()}
    lie = answer._replace(tables={**answer.tables, kind: turned})
    assert lie.refused().problems[0].element is not None


# -- no number can be changed unnoticed ------------------------------------------------------------

#: What is compared; loadings are shares of ratings and reactances follow from firing angles.
CHECKED = ("p_", "q_", "pl_", "ql_", "vm_", "i_")
#: A stacked converter tells the mean of two internal voltages, from which nothing follows; a line's
#: neutral current and its larger end are sums and maxima of what is checked in phases.
UNCHECKED = {
    (e.B2BVSC, "vm_internal_pu"),
    *((e.Line, f"i_{what}_ka") for what in ("n_from", "n_to", "n", "a", "b", "c")),
}


def numbers(answer: Answer) -> Iterator[tuple[type[Element], str, int]]:
    """Every checked number of an answer: kind, column, row."""
    phases = answer.settings.model == "unbalanced"
    for kind, columns in answer.tables.items():
        for column, values in columns.items():
            linear = answer.settings.linear and not column.startswith("p")
            named = column.startswith(CHECKED) and not (phases and (kind, column) in UNCHECKED)
            if named and not linear and (kind, column) != (e.B2BVSC, "vm_internal_pu"):
                yield from ((kind, column, int(row)) for row in np.flatnonzero(~np.isnan(values)))


def a_little(answer: Answer, kind: type[Element], column: str, row: int) -> float:
    """Twice the tolerance: of a power 2 kVA, of a voltage 2e-6 pu, of a current 2 kVA at 1 pu."""
    if column.startswith("vm_"):
        # Of one phase a third is seen in the positive sequence.
        return 6e-6 if answer.settings.model == "unbalanced" else 2e-6
    if not column.startswith("i_"):
        return 2e-3
    rows = answer.network.rows(kind)
    if kind is e.LineDC:
        return 2e-3 / float(answer.network.rows(e.DCBus).column("vn_kv").min())
    buses = [rows.at[port.bus][row] for port in kind.ports if port.bus in rows.at] or [
        rows.at["bus"][row]
    ]
    return 2e-3 / (np.sqrt(3) * float(answer.network.rows(e.Bus).column("vn_kv")[buses].min()))


@pytest.mark.parametrize("name", CASES)
def test_no_single_number_can_be_changed_unnoticed(
    name: str, solved: Callable[[str], Answer]
) -> None:
    answer = solved(name)
    unnoticed = []
    for kind, column, row in numbers(answer):
        little = a_little(answer, kind, column, row)
        id_ = answer.network.rows(kind).ids[row]
        for change in (little, -little):
            try:
                answer.change(id_, column, lambda value, by=change: value + by).certify()
            except NotConvergedError:
                continue
            unnoticed.append((id_, column, change))
    assert not unnoticed


@st.composite
def networks(draw: st.DrawFn) -> dict[str, Any]:
    """A tree of 20 kV cables with loops, loads and static generators of all sizes."""
    count = draw(st.integers(3, 7))
    elements = {f"b{k}": bus(20.0) for k in range(count)}
    elements["grid"] = element("External Grid", bus="b0", vm_pu=draw(st.floats(0.95, 1.05)))
    pairs = [(draw(st.integers(0, k - 1)), k) for k in range(1, count)]
    pairs += draw(st.lists(st.sampled_from([(0, count - 1), (1, count - 1)]), max_size=2))
    for number, (one, other) in enumerate(pairs):
        elements[f"l{number}"] = element(
            "Line", from_bus=f"b{one}", to_bus=f"b{other}", length_km=draw(st.floats(0.2, 4.0)),
            r_ohm_per_km=0.2, x_ohm_per_km=0.12, c_nf_per_km=260.0, max_i_ka=0.3,
        )  # fmt: skip
    for k in range(1, count):
        typ = draw(st.sampled_from(["Load", "Static Generator"]))
        p, q = draw(st.floats(-2.0, 2.0)), draw(st.floats(-1.0, 1.0))
        elements[f"s{k}"] = element(typ, bus=f"b{k}", p_mw=p, q_mvar=q)
    return elements


@hypothesis_settings(max_examples=25, deadline=None)
@given(networks(), st.data())
def test_any_perturbed_number_of_a_solved_network_is_refused(
    elements: dict[str, Any], data: st.DataObject
) -> None:
    answer = by_hand(elements)
    assert answer.certify().max_p_mismatch_mw < SOLVED
    kind, column, row = data.draw(st.sampled_from(list(numbers(answer))))
    factor = data.draw(st.floats(1.0, 1e6)) * data.draw(st.sampled_from([1, -1]))
    by = factor * a_little(answer, kind, column, row)
    id_ = answer.network.rows(kind).ids[row]
    answer.change(id_, column, lambda value: value + by).refused()
