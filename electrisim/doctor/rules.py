"""The causes that the doctor knows, by their key."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Rule(NamedTuple):
    """A cause: what it is, what speaks for it, and what repair is tried."""

    meaning: str
    evidence: str
    repair: str


#: In the order in which the reference lists them.
RULES: Mapping[str, Rule] = MappingProxyType({
    "value": Rule(
        "A number is far from that of the others of its kind at the voltage level, or from what "
        "is usual there: power, scaling, length, impedance, capacitance, rating, short-circuit "
        "voltage, losses.",
        "The value, the usual one, and how much the element takes part in the collapse.",
        "The factor of a common slip (kW for MW, metres for kilometres, Ω for Ω/km, percent for a "
        "factor, a decimal point, a sign) that brings it back; else the usual value.",
    ),
    "every-value": Rule(
        "All elements of a kind have a number far from what is usual at their voltage.",
        "The middle value and the usual range's end.",
        "The same slip undone in all of them.",
    ),
    "voltage-level": Rule(
        "A bus's vn_kv differs from what its connections are for, or a winding's from its bus; the "
        "transformer is the wrong way round.",
        "Both voltages, and how many connections disagree.",
        "V for kV undone, the level of what is connected, or hv_bus and lv_bus exchanged.",
    ),
    "joins-levels": Rule(
        "A line or switch joins two buses of different nominal voltage, which fit all else.",
        "Both nominal voltages.",
        "Taken out of service, or opened.",
    ),
    "tap": Rule(
        "A tap changer is far off: outside of its range, or it changes the ratio by more than a "
        "quarter.",
        "Position, step and the change of the ratio.",
        "The step in the right unit, the position without a decimal slip, the end of the range, "
        "the neutral position.",
    ),
    "set-point": Rule(
        "A source is to hold a voltage that is hardly meant, below 0.85 or above 1.15 pu.",
        "The set-point, and what it is in kV.",
        "kV, V or percent given as per unit undone; else what the other sources hold.",
    ),
    "phase-shift": Rule(
        "The phase shifts around a loop do not cancel: of parallel transformers, or between "
        "sources.",
        "The angle that is left, and how many loops agree and disagree.",
        "The shift_degree or va_degree with which the loop closes.",
    ),
    "transfer": Rule(
        "One element asks for more than the network can pass on to it.",
        "What it asks for, and the most that is possible.",
        "The largest power with which there is a solution, found by bisection.",
    ),
    "overload": Rule(
        "All load together is more than the network carries.",
        "The share of all powers up to which there is a solution, the share of the load alone, and "
        "the buses that the singular direction of the Jacobian names there.",
        "All consumers reduced to what the network carries.",
    ),
    "bottleneck": Rule(
        "A branch holds much of the voltage between its ends where the solution ends.",
        "That voltage, and V²/2X of the branch.",
        "Systems beside it (`parallel`).",
    ),
    "idle": Rule(
        "A branch, source or switch is out of service or open, and the network has a solution "
        "with it.",
        "The lowest voltage then.",
        "Put into service, or closed.",
    ),
    "several": Rule(
        "No single repair suffices, several together do.",
        "How many.",
        "The likeliest repairs together.",
    ),
    "solver": Rule(
        "The network has a solution, which the algorithm does not reach from its start with the "
        "settings asked for.",
        "Lowest and highest voltage of the solution that our own equations have.",
        "The setting with which the engine reaches it.",
    ),
    "unsupplied": Rule(
        "A part of the network has no supply. It does not keep the rest from a solution, but may "
        "be a sign of a connection that is missing.",
        "How many buses.",
        "None.",
    ),
    "engine-answer": Rule(
        "The engine's answer is refused by its certificate: it is no solution.",
        "What was asked for and delivered.",
        "None.",
    ),
    "limit": Rule(
        "A limit of the optimal power flow is in the way.",
        "The limit, and the least by which it has to give way together with the others named.",
        "The limit moved by that much, all of those named together.",
    ),
})  # fmt: skip
