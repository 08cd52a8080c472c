"""The settings that all studies share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from electrisim.fields import quantity, says


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a network is solved. None leaves the choice to the engine."""

    name: ClassVar[str]

    solver: Annotated[Literal["pandapower", "opendss"], says("The engine.")] = "pandapower"
    binding: Annotated[
        Literal["opendssdirect", "py_dss_interface"],
        says("OpenDSS: DSS C-API in process, or EPRI's own build in a child process."),
    ] = "opendssdirect"
    frequency: Annotated[float, quantity("Hz", "Nominal frequency.", gt=0, le=1000)] = 50.0
    algorithm: (
        Annotated[
            Literal["nr", "iwamoto_nr", "bfsw", "gs", "fdbx", "fdxb", "normal", "newton"],
            says(
                "pandapower: nr (default), iwamoto_nr, bfsw, gs, fdbx, fdxb; "
                "OpenDSS: normal (default, fixed point), newton."
            ),
        ]
        | None
    ) = None
    tolerance: (
        Annotated[
            float,
            quantity("MVA", "Largest bus mismatch; 1e-8 on pandapower, 1e-6 on OpenDSS.", gt=0),
        ]
        | None
    ) = None
    max_iteration: (
        Annotated[int, quantity("1", "Iterations before the solver gives up.", ge=1, le=100_000)]
        | None
    ) = None
    init: Annotated[
        Literal["auto", "flat", "dc"], says("pandapower: where the iteration starts.")
    ] = "auto"
    calculate_voltage_angles: Annotated[
        bool | Literal["auto"], says("pandapower: phase shifts count; auto: above 70 kV only.")
    ] = True
    trafo_model: Annotated[
        Literal["t", "pi"], says("pandapower: equivalent circuit of transformers.")
    ] = "t"
    trafo_loading: Annotated[
        Literal["current", "power"], says("What the loading of transformers refers to.")
    ] = "current"
    enforce_q_lims: Annotated[
        bool, says("Generators give up their voltage at a reactive limit.")
    ] = False
    distributed_slack: Annotated[
        bool, says("pandapower: the imbalance is shared by slack_weight.")
    ] = False
    voltage_depend_loads: Annotated[
        bool, says("Loads follow their constant-impedance and constant-current shares.")
    ] = True
    consider_line_temperature: Annotated[
        bool, says("pandapower: line resistances at temperature_degree_celsius.")
    ] = False
    source_impedance: Annotated[
        bool, says("OpenDSS: external grids have their short-circuit impedance in power flow too.")
    ] = False
    solution_mode: Annotated[
        Literal["snapshot", "daily", "dutycycle", "yearly"],
        says(
            "OpenDSS: one state, or the steps of the elements' daily, duty or yearly multipliers."
        ),
    ] = "snapshot"
    load_model: Annotated[
        Literal["powerflow", "admittance"],
        says("OpenDSS: loads as they are, or all of them as admittances."),
    ] = "powerflow"
    control_mode: Annotated[
        Literal["static", "event", "time", "off"], says("OpenDSS: when controls act.")
    ] = "static"
    export_script: Annotated[bool, says("Also answer a script that reproduces the numbers.")] = (
        False
    )

    @property
    def model(self) -> str:
        """Which model of the network the study needs: "balanced" or "unbalanced"."""
        return "balanced"

    @property
    def harmonic(self) -> bool:
        """Whether the study also asks for frequencies other than the nominal one."""
        return False

    @property
    def steps(self) -> bool:
        """Whether the study goes through the steps of `solution_mode`."""
        return False

    @property
    def linear(self) -> bool:
        """Whether the study asks for the linearised power flow: active power only, all 1 pu."""
        return False

    @property
    def controls(self) -> bool:
        """Whether the network's controllers act."""
        return False
