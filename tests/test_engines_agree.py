"""Both engines give the same answer on the same balanced network."""

from __future__ import annotations

import numpy as np
import pytest
from bricks import bus, cable, columns, element, grid, load, solve, transformer

#: What issue and contract promise; measured are 1e-9 pu and 1e-7 degree.
VOLTAGE_PU, ANGLE_DEGREE = 1e-4, 0.01


def network_of_two_levels(**more):
    """grid ─ b1 (110 kV) ─T1─ b2 (20 kV) ── 4 km ── b3"""
    buses = {"b1": bus(110), "b2": bus(20), "b3": bus(20)}
    return {
        "grid": grid("b1", vm_pu=1.01, va_degree=5), **buses,
        "t1": transformer("b1", "b2"), "l1": cable("b2", "b3"), "d1": load("b3"), **more,
    }  # fmt: skip


NETWORKS = {
    "radial": network_of_two_levels(),
    "meshed": network_of_two_levels(
        b4=bus(20), l2=cable("b3", "b4", 7), l3=cable("b4", "b2", 2), d2=load("b4", 5)
    ),
    "taps off neutral": network_of_two_levels(
        t1=transformer("b1", "b2", tap_side="hv", tap_neutral=0, tap_pos=4, tap_step_percent=1.5)
    ),
    "a Dyn5 transformer": network_of_two_levels(t1=transformer("b1", "b2", vector_group="Dyn5")),
    "a generator that holds its voltage": network_of_two_levels(
        g1=element("Generator", bus="b3", p_mw=5, vm_pu=1.02)
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_bus_voltages_agree(name):
    one, other = (
        columns(solve(NETWORKS[name], solver=solver), "Bus") for solver in ("pandapower", "opendss")
    )
    assert np.abs(one["vm_pu"] - other["vm_pu"]).max() < VOLTAGE_PU
    assert np.abs(one["va_degree"] - other["va_degree"]).max() < ANGLE_DEGREE
