"""Harmonics: what nonlinear elements do to voltages and currents, and how the network resonates.

The power flow comes first, certified as any other. Around it the network is linear at every other
frequency: each element with a spectrum injects its orders, in proportion to its fundamental, into
the impedances that the network has there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np

from electrisim import elements as e
from electrisim import premises
from electrisim.certificate import certify
from electrisim.claims import sides_of
from electrisim.completion import complete
from electrisim.elements import Element
from electrisim.engine import Distortion, Engines, Harmonic
from electrisim.fields import quantity, says
from electrisim.network import Array, Network, Rows, fault
from electrisim.problems import Problem, ProblemError, nearest, shorten
from electrisim.results import Answer, Tables
from electrisim.settings import Settings
from electrisim.spectra import (
    NAMED,
    USUAL,
    NotASpectrumError,
    Spectrum,
    checked,
    from_csv,
    relative,
)
from electrisim.studies.powerflow import idle, losses
from electrisim.topology import Topology

#: Most orders at once, and the highest; most points of a scan.
MOST_ORDERS, HIGHEST, MOST_POINTS = 200, 1000.0, 5000
#: How far a scan goes where nobody says, and its steps [orders].
SCAN_TO, SCAN_STEP = 50.0, 0.1

BRANCHES: tuple[type[Element], ...] = (
    e.Line, e.Transformer, e.ThreeWindingTransformer, e.Impedance, e.Switch,
)  # fmt: skip


class Harmonics(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a harmonic analysis."""

    name: ClassVar[str] = "harmonics"

    solver: Annotated[
        Literal["pandapower", "opendss"], says("The engine; pandapower has no harmonics.")
    ] = "opendss"
    harmonics: (
        Annotated[
            list[float],
            says("Orders, e.g. [5, 7, 11]; absent, all that the elements' spectra have."),
        ]
        | None
    ) = None
    neglect_load_y: Annotated[
        bool, says("Loads inject their currents and are no impedance to harmonics.")
    ] = False
    scan: (
        Annotated[
            list[str],
            says("Ids of buses at which the impedance is scanned over the frequency."),
        ]
        | None
    ) = None
    scan_from_hz: (
        Annotated[float, quantity("Hz", "Where the scan begins; the frequency if absent.", gt=0)]
        | None
    ) = None
    scan_to_hz: (
        Annotated[float, quantity("Hz", "Where it ends; 50 times the frequency if absent.", gt=0)]
        | None
    ) = None
    scan_step_hz: (
        Annotated[float, quantity("Hz", "Its steps; a tenth of the frequency if absent.", gt=0)]
        | None
    ) = None

    @property
    def harmonic(self) -> bool:
        return True


class Used(msgspec.Struct, frozen=True):
    """The spectrum that an element had: by name, or custom."""

    element: str
    spectrum: str


class Scan(msgspec.Struct, frozen=True):
    """What a positive-sequence current meets at a bus, by frequency."""

    element: str
    frequency_hz: list[float]
    r_ohm: list[float]
    x_ohm: list[float]
    z_ohm: list[float]


SHAPES = (Used, Scan)


def run(network: Network, settings: Harmonics, engines: Engines) -> Answer:
    """Solve the network, certify it, and solve it again at every order.

    Raises ProblemError (spectra or buses that are none, the engine cannot represent something) and
    NotConvergedError.
    """
    asked = _Asked(network, settings)
    engine = engines.admit(network, settings)
    topology = Topology(network)
    premises.check(network, topology, settings)
    with engine.build(network, topology, settings) as model:
        if not isinstance(model, Harmonic):
            message = f"{engine.name} has no harmonic analysis; opendss has."
            problem = Problem(kind="unsupported", message=message, field="solver")
            raise ProblemError([problem], kind="unsupported")
        solution = model.power_flow()
        tables = complete(network, topology, settings, solution.tables)
        certificate = certify(network, topology, settings, tables)
        orders = asked.orders(topology)
        found = model.harmonics(asked.spectra, orders, settings.neglect_load_y)
        scans = [asked.scanned(bus, model.scan(bus, asked.scan)) for bus in asked.buses]
    beside: dict[str, Any] = {
        "orders": orders,
        "harmonics": by_order(network, found),
        "spectra": asked.used,
        "losses": losses(tables),
    }
    if settings.scan:
        beside["scan"] = scans
    if settings.export_script:
        beside["script"] = found.script
    return Answer(
        tables=distorted(network, tables, found),
        iterations=solution.iterations,
        warnings=(
            *network.warnings,
            *solution.warnings,
            *idle(network, topology),
            *asked.warnings(topology, orders),
            *found.warnings,
        ),
        certificate=certificate,
        engine={**engine.version(settings), "solver": solution.solver},
        beside=beside,
    )


# -- what is asked ---------------------------------------------------------------------------------


class _Asked:
    """Spectra, orders and scans; raises ProblemError with all that is wrong.

    spectra  kind → of each of its elements
    used     the name of each element's spectrum
    buses    rows of those to be scanned
    scan     the orders of the scan
    """

    def __init__(self, network: Network, settings: Harmonics) -> None:
        self.network, self.settings = network, settings
        self._problems: list[Problem] = []
        self.used: list[Used] = []
        self.spectra: Mapping[type[Element], Sequence[Spectrum]] = {
            kind: list(self._spectra(network.rows(kind))) for kind in USUAL if kind in network.kinds
        }
        self._check_orders()
        self.buses = list(self._find_buses())
        self.scan = self._scan()
        if self._problems:
            raise ProblemError(self._problems)

    def _fault(self, kind: str, field: str, message: str) -> None:
        self._problems.append(Problem(kind=kind, message=message, field=field))

    # -- spectra

    def _spectra(self, rows: Rows) -> Iterator[Spectrum]:
        for row, element in enumerate(rows.elements):
            own = [f for f in ("spectrum_points", "spectrum_csv") if getattr(element, f)]
            name = element.spectrum or ("custom" if own else USUAL[rows.kind])
            self.used.append(Used(rows.ids[row], name))
            yield relative(self._spectrum(rows, row, name, own))

    def _spectrum(self, rows: Rows, row: int, name: str, own: list[str]) -> Spectrum:
        def blame(field: str, kind: str, text: str) -> Spectrum:
            self._problems.append(fault(rows, row, field, kind, text))
            return ()

        if name != "custom":
            if own:
                text = f"has the spectrum {name} and {own[0]}, which is for custom ones"
                return blame("spectrum", "contradiction", text)
            return NAMED[name]
        if not own:
            text = "has a custom spectrum and needs spectrum_points or spectrum_csv"
            return blame("spectrum_points", "missing-parameter", text)
        if len(own) > 1:
            text = "has both spectrum_points and spectrum_csv"
            return blame("spectrum_csv", "contradiction", text)
        element, field = rows.elements[row], own[0]
        try:
            if field == "spectrum_csv":
                return from_csv(element.spectrum_csv)
            return checked(element.spectrum_points)
        except NotASpectrumError as error:
            return blame(field, "not-a-spectrum", f"has a {field} that {error}")

    # -- orders

    def _check_orders(self) -> None:
        given = self.settings.harmonics
        if given is None:
            return
        known = all(1 < order <= HIGHEST and order == int(order) for order in given)
        if not given or len(given) > MOST_ORDERS or not known:
            message = (
                f"The setting harmonics must have 1 to {MOST_ORDERS} whole numbers from 2 to "
                f"{HIGHEST:g}."
            )
            self._fault("out-of-bounds", "harmonics", message)
        elif len(set(given)) < len(given):
            self._fault("given-twice", "harmonics", "The setting harmonics has an order twice.")

    def orders(self, topology: Topology) -> list[float]:
        """The orders to be solved: those asked for, or those that something injects."""
        if self.settings.harmonics is not None:
            return self.settings.harmonics
        found = {
            point.order
            for kind, spectra in self.spectra.items()
            for spectrum, alive in zip(spectra, topology.alive(kind), strict=True)
            for point in spectrum
            if alive and point.order != 1
        }
        return sorted(found)

    def warnings(self, topology: Topology, orders: Sequence[float]) -> Iterator[str]:
        """What a reader of the orders should know."""
        injected = {
            point.order
            for kind, spectra in self.spectra.items()
            for spectrum, alive in zip(spectra, topology.alive(kind), strict=True)
            for point in spectrum
            if alive
        }
        silent = [f"{order:g}" for order in orders if order not in injected]
        if silent:
            yield f"Nothing injects order {', '.join(silent)}."
        triple = [f"{order:g}" for order in orders if order % 3 == 0 and order in injected]
        if triple:
            yield (
                f"In a balanced network order {', '.join(triple)} is of the zero sequence. It "
                "takes the zero-sequence data of lines and external grids where they are given, "
                "else those of the positive sequence; delta windings do not pass it on."
            )

    # -- scans

    def _find_buses(self) -> Iterator[int]:
        buses = self.network.rows(e.Bus)
        topology = Topology(self.network)
        for ref in self.settings.scan or ():
            row = buses.position.get(ref)
            if row is None:
                text = f"The setting scan names “{shorten(ref)}”, which is the id of no bus."
                self._fault("unknown-bus", "scan", text + nearest(ref, buses.ids[:2000]))
            elif not topology.bus[row]:
                text = f"The setting scan names {buses.label(row)}, which has no supply."
                self._fault("no-supply", "scan", text)
            else:
                yield row

    def _scan(self) -> list[float]:
        settings, f = self.settings, self.settings.frequency
        if not settings.scan:
            for name in ("scan_from_hz", "scan_to_hz", "scan_step_hz"):
                if getattr(settings, name) is not None:
                    text = f"The setting {name} is for a scan, and scan names no bus."
                    self._fault("missing-setting", "scan", text)
            return []
        start, end = settings.scan_from_hz or f, settings.scan_to_hz or SCAN_TO * f
        step = settings.scan_step_hz or SCAN_STEP * f
        count = (end - start) / step
        if not 0 <= count < MOST_POINTS or end > HIGHEST * f:
            text = (
                f"The scan from {start:g} to {end:g} Hz in steps of {step:g} Hz must have 1 to "
                f"{MOST_POINTS} points, none above {HIGHEST * f:g} Hz."
            )
            self._fault("out-of-bounds", "scan_to_hz", text)
            return []
        hertz = start + step * np.arange(int(count + 1e-9) + 1)
        return [float(value) for value in hertz / f]

    def scanned(self, bus: int, z: Array) -> Scan:
        """The impedances met at a bus, with their frequencies."""
        hertz = [order * self.settings.frequency for order in self.scan]
        id_ = self.network.rows(e.Bus).ids[bus]
        return Scan(id_, hertz, z.real.tolist(), z.imag.tolist(), np.abs(z).tolist())


# -- what is found ---------------------------------------------------------------------------------

#: Columns beside those of the power flow, with what they tell.
COLUMNS: Mapping[type[Element], Mapping[str, str]] = {
    e.Bus: {"vthd_percent": "voltage of all orders together, of the fundamental [%]"},
    **{
        kind: {
            f"ithd_{side}_percent": f"current of all orders together at the {side} end, of the "
            "fundamental [%]"
            for side in sides_of(kind)
        }
        for kind in BRANCHES
    },
}


def distorted(network: Network, tables: Tables, found: Distortion) -> Tables:
    """The power flow's tables with the total harmonic distortion beside them."""
    vn_kv = network.rows(e.Bus).column("vn_kv")
    more: dict[type[Element], dict[str, Array]] = {
        e.Bus: {
            "vthd_percent": thd_percent(found.voltage_kv, tables[e.Bus]["vm_pu"] * vn_kv),
        }
    }
    for kind, current in found.current_ka.items():
        more[kind] = {
            f"ithd_{side}_percent": thd_percent(
                current[:, :, port], _fundamental(tables, kind, side)
            )
            for port, side in enumerate(sides_of(kind))
        }
    return {kind: {**columns, **more.get(kind, {})} for kind, columns in tables.items()}


def _fundamental(tables: Tables, kind: type[Element], side: str) -> Array:
    return tables[kind]["i_ka" if kind is e.Switch else f"i_{side}_ka"]


def thd_percent(orders: Array, fundamental: Array) -> Array:
    """√(Σ h²) of the first axis, of the fundamental [%]; NaN where that is nothing."""
    whole = np.sqrt((np.abs(orders) ** 2).sum(axis=0))
    some = fundamental > 0
    return np.where(some, 100 * whole / np.where(some, fundamental, 1), np.nan)


def by_order(network: Network, found: Distortion) -> dict[str, dict[str, Any]]:
    """Key of the results → ids, and by quantity one list per order with one value per element."""
    buses = network.rows(e.Bus)
    vm_kv = np.abs(found.voltage_kv)
    tables: dict[str, dict[str, Any]] = {
        e.Bus.key: {
            "ids": buses.ids,
            "vm_pu": (vm_kv / buses.column("vn_kv")).tolist(),
            "vm_kv": vm_kv.tolist(),
            "va_degree": np.angle(found.voltage_kv, deg=True).tolist(),
        }
    }
    for kind, current in found.current_ka.items():
        ka = np.abs(current)
        columns = {f"i_{side}_ka": ka[:, :, k].tolist() for k, side in enumerate(sides_of(kind))}
        tables[kind.key] = {"ids": network.rows(kind).ids, **columns}
    return tables
