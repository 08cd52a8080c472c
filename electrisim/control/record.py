"""What an answer tells of a controller."""

from __future__ import annotations

from typing import Annotated

import msgspec

from electrisim.fields import quantity, says


class Controlled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A controller: where its element was and is, what it looks at, and whether it is content."""

    element: Annotated[str, says("Id of its element.")]
    name: Annotated[str | None, says("Label of its element.")]
    kind: Annotated[str, says("Which control it is, e.g. tap_control_discrete or q_control_qv.")]
    active: Annotated[bool, says("False: out of service or without supply; it has no numbers.")] = (
        True
    )
    converged: Annotated[bool, says("It is content, or at a limit; false where it hunts.")]
    on_target: Annotated[bool, says("What it controls is where it should be.")]
    at_limit: Annotated[bool, says("It would go on and has no further position or power.")]
    tap_pos_initial: Annotated[float, quantity("1", "Tap position as given.")] | None = None
    tap_pos: Annotated[float, quantity("1", "Tap position after control.")] | None = None
    step_initial: Annotated[float, quantity("1", "Steps as given.")] | None = None
    step: Annotated[float, quantity("1", "Steps after control.")] | None = None
    vm_pu: Annotated[float, quantity("pu", "The voltage that it controls or follows.")] | None = (
        None
    )
    vm_set_pu: Annotated[float, quantity("pu", "What that voltage should be.")] | None = None
    vm_lower_pu: Annotated[float, quantity("pu", "Lower edge of its band.")] | None = None
    vm_upper_pu: Annotated[float, quantity("pu", "Upper edge of its band.")] | None = None
    line: Annotated[str, says("Id of the line whose flow it follows.")] | None = None
    line_p_mw: Annotated[float, quantity("MW", "That flow.")] | None = None
    line_p_column: Annotated[str, says("At which end.")] | None = None
    p_target_mw: Annotated[float, quantity("MW", "The most that the flow should be.")] | None = None
    p_mw_initial: Annotated[float, quantity("MW", "Active power as given.")] | None = None
    p_mw: Annotated[float, quantity("MW", "Active power after control.")] | None = None
    q_mvar_initial: Annotated[float, quantity("Mvar", "Reactive power as given.")] | None = None
    q_mvar: Annotated[float, quantity("Mvar", "Reactive power after control.")] | None = None
    station: Annotated[str, says("The station that it belongs to.")] | None = None
    q_share: Annotated[float, quantity("1", "Its part of the station's reactive power.")] | None = (
        None
    )
    machine_vm_pu_initial: (
        Annotated[float, quantity("pu", "What it held of its own bus as given.")] | None
    ) = None
    machine_vm_pu: (
        Annotated[float, quantity("pu", "What it holds of its own bus after control.")] | None
    ) = None
