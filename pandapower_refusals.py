"""What pandapower cannot do: settings that it would ignore, elements that it would get wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.network import Array, Network, Rows, across_voltages, fault
from electrisim.problems import Problem, ProblemError
from electrisim.settings import Settings
from electrisim.studies.powerflow import PowerFlow
from electrisim.topology import Topology

#: Kinds that only Newton-Raphson solves.
CONTROLLED = (e.SVC, e.TCSC, e.SSC, e.VSC, e.B2BVSC, e.DCBus)
#: Kinds that the linear power flow leaves out.
NOT_LINEAR = (e.TCSC, e.VSC, e.B2BVSC, e.DCBus, e.LineDC, e.LoadDC, e.SourceDC)
FOLLOWS_VOLTAGE = (
    "const_z_p_percent", "const_i_p_percent", "const_z_q_percent", "const_i_q_percent",
)  # fmt: skip

_Reasons = Iterator[tuple[str, str]]


def refusals(network: Network, settings: Settings) -> list[Problem]:
    """Every setting and element of a balanced study that pandapower would ignore or get wrong."""
    if settings.harmonic:
        message = "pandapower has no harmonic analysis; the engine opendss has."
        return [Problem(kind="unsupported", message=message, field="solver")]
    assert isinstance(settings, PowerFlow)
    if settings.linear:
        reasons, elements = _linear_settings(settings), _linear_elements(network)
    else:
        reasons, elements = _newton_settings(network, settings), _newton_elements(network)
    return [
        *said(settings, foreign(settings)),
        *said(settings, reasons),
        *elements,
        *across_levels(network),
    ]


def said(settings: Settings, reasons: Iterable[tuple[str, str]]) -> Iterator[Problem]:
    """One problem per (setting, why it cannot be as it is)."""
    for name, why in reasons:
        value = getattr(settings, name)
        told = str(value).lower() if isinstance(value, bool) else value
        message = f"The setting {name} “{told}” {why}."
        yield Problem(kind="unsupported", message=message, field=name)


def foreign(settings: Settings) -> _Reasons:
    """What only OpenDSS knows."""
    if settings.algorithm in ("normal", "newton"):
        yield "algorithm", "is OpenDSS' own; pandapower's are nr, iwamoto_nr, bfsw, gs, fdbx, fdxb"
    for name in ("binding", "source_impedance", "solution_mode", "load_model", "control_mode"):
        if getattr(settings, name) != getattr(Settings(), name):
            yield name, "is OpenDSS' own; pandapower does not know it"


def across_levels(network: Network) -> Iterator[Problem]:
    """Lines between buses of unequal vn_kv, where pandapower equates pu.

    The engine computes with kilovolts only where it converts them: 1 pu at one end is 1 pu at the
    other end of a line without current, whatever the two are in kV.
    """
    hint = " Give them one vn_kv, draw a transformer, or use the engine opendss."
    for rows, row, ends in across_voltages(network):
        text = f"joins buses of {ends}, which pandapower would take for one voltage"
        yield fault(rows, row, "to_bus", "unsupported", text, hint)


def _newton_settings(network: Network, settings: PowerFlow) -> _Reasons:
    algorithm = settings.algorithm or "nr"
    controlled = next(_present(network, CONTROLLED), None)
    if controlled and algorithm != "nr":
        yield "algorithm", f"does not solve networks with {controlled}; nr does"
    if controlled and settings.init == "dc":
        yield "init", f"does not start networks with {controlled}; flat does"
    if settings.enforce_q_lims and algorithm not in ("nr", "iwamoto_nr"):
        yield "enforce_q_lims", f"does not act with {algorithm}; it does with nr and iwamoto_nr"
    if settings.distributed_slack and algorithm != "nr":
        yield "distributed_slack", f"does not act with {algorithm}; it does with nr"
    uneven = next(_uneven(network), None) if algorithm == "bfsw" else None
    if uneven:
        yield (
            "algorithm",
            f"takes both ends of {uneven} for alike, which they are not; nr does not",
        )
    if settings.consider_line_temperature and next(_present(network, (e.LineDC,)), None):
        yield "consider_line_temperature", "does not act where a DC network stands beside"


def _uneven(network: Network) -> Iterator[str]:
    """Branches in service whose two ends differ, by name."""
    impedances = network.rows(e.Impedance)
    differs = np.zeros(len(impedances), dtype=bool)
    for one, other in (("rft", "rtf"), ("xft", "xtf"), ("gf", "gt"), ("bf", "bt")):
        back = impedances.column(f"{other}_pu")
        differs |= ~np.isnan(back) & (back != impedances.column(f"{one}_pu"))
    transformers = network.rows(e.Transformer)
    shares = [
        np.nan_to_num(transformers.column(f"leakage_{part}_ratio_hv"), nan=0.5)
        for part in ("resistance", "reactance")
    ]
    lopsided = (shares[0] != 0.5) | (shares[1] != 0.5)
    for rows, uneven in ((impedances, differs), (transformers, lopsided)):
        for row in np.flatnonzero(uneven & rows.column("in_service")):
            yield rows.label(int(row))


def _linear_settings(settings: PowerFlow) -> _Reasons:
    why = "has no meaning in the linear power flow"
    if settings.algorithm not in (None, "normal", "newton"):
        yield "algorithm", why
    for name in ("init", "enforce_q_lims", "distributed_slack", "consider_line_temperature"):
        if getattr(settings, name) != getattr(Settings(), name):
            yield name, why
    if settings.calculate_voltage_angles is not True:
        yield "calculate_voltage_angles", f"{why}, which consists of them"


def _present(network: Network, kinds: Iterable[type[Element]]) -> Iterator[str]:
    """The first element in service of each of these kinds, by name."""
    for kind in kinds:
        rows = network.rows(kind)
        for row in np.flatnonzero(rows.column("in_service"))[:1]:
            yield rows.label(int(row))


def _linear_elements(network: Network) -> Iterator[Problem]:
    for kind in NOT_LINEAR:
        rows = network.rows(kind)
        for row in np.flatnonzero(rows.column("in_service")):
            text = "has no place in pandapower's linear power flow (mode dc); mode ac has one"
            yield fault(rows, int(row), None, "unsupported", text)


def _newton_elements(network: Network) -> Iterator[Problem]:
    for kind in (e.VSC, e.B2BVSC, e.SSC):
        rows = network.rows(kind)
        if not len(rows):
            continue
        nothing = (rows.column("r_ohm") == 0) & (rows.column("x_ohm") == 0)
        yield from _faults(rows, nothing, "x_ohm", "has no impedance (r_ohm and x_ohm are 0)")
        if kind is not e.SSC:
            ideal = rows.column("r_dc_ohm") == 0
            yield from _faults(rows, ideal, "r_dc_ohm", "needs an r_dc_ohm above 0 on pandapower")
            fixed = ~rows.column("controllable")
            text = "cannot be left uncontrolled (controllable false) on pandapower"
            yield from _faults(rows, fixed, "controllable", text)
    lines = network.rows(e.LineDC)
    leaking = lines.column("g_us_per_km") != 0
    text = "has a g_us_per_km, which pandapower leaves out of its DC networks"
    yield from _faults(lines, leaking, "g_us_per_km", text)
    yield from _crowded_sources(network)


def _crowded_sources(network: Network) -> Iterator[Problem]:
    """Sources at a DC bus that another source, or a converter, holds already."""
    sources = network.rows(e.SourceDC)
    if not len(sources):
        return
    taken: dict[int, str] = {}
    for kind in (e.VSC, e.B2BVSC):
        rows = network.rows(kind)
        for port in kind.ports[1:] if len(rows) else ():
            for row in np.flatnonzero(rows.column("in_service")).tolist():
                taken.setdefault(int(rows.at[port.bus][row]), rows.label(row))
    for row in np.flatnonzero(sources.column("in_service")).tolist():
        bus = int(sources.at["bus_dc"][row])
        if bus in taken:
            text = f"cannot share its DC bus with {taken[bus]} on pandapower; join them by a line"
            yield fault(sources, row, "bus_dc", "unsupported", text)
        taken.setdefault(bus, sources.label(row))


def _faults(rows: Rows, where: Array, field: str, text: str) -> Iterator[Problem]:
    for row in np.flatnonzero(where & rows.column("in_service")):
        yield fault(rows, int(row), field, "unsupported", text)


def no_reactance(network: Network, topology: Topology) -> ProblemError:
    """The error of a linear power flow that meets branches without reactance, naming them."""
    text = "has no reactance, which the linear power flow needs"
    problems = [
        fault(rows, int(row), field, "no-reactance", text)
        for rows, field, reactance in _reactances(network)
        for row in np.flatnonzero((reactance == 0) & topology.alive(rows.kind))
    ]
    message = "A branch of the network has no reactance, which the linear power flow needs."
    return ProblemError(problems or [Problem(kind="no-reactance", message=message)])


def _reactances(network: Network) -> Iterator[tuple[Rows, str, Array]]:
    lines, impedances, wards = (network.rows(k) for k in (e.Line, e.Impedance, e.ExtendedWard))
    yield lines, "x_ohm_per_km", lines.column("x_ohm_per_km")
    yield impedances, "xft_pu", impedances.column("xft_pu")
    yield wards, "x_ohm", wards.column("x_ohm")
    transformers = network.rows(e.Transformer)
    vk, vkr = transformers.column("vk_percent"), transformers.column("vkr_percent")
    yield transformers, "vkr_percent", np.abs(vk) - np.abs(vkr)
