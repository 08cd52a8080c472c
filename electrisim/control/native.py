"""Controllers that an engine has itself: it moves them, we look where they end.

The engine's controls act in a circuit of their own. It is built again from where they ended until
they stay there, and then without them: the answer is that of a plain power flow, and whether its
controllers are content is judged by the same laws as everywhere.
"""

from __future__ import annotations

import numpy as np

from electrisim.claims import Answered
from electrisim.completion import complete
from electrisim.control.plan import EDGE_PU, Place, Plan, Stepping, Values, with_values
from electrisim.control.telling import End, Settled, State, records
from electrisim.engine import Controlling, Engine
from electrisim.network import Network
from electrisim.phases import Phased
from electrisim.settings import Settings
from electrisim.topology import Topology

#: How often the engine's controls act, each time from where they ended.
ROUNDS = 10
#: An engine's controls stop some ten times as far from their curves as ours; OpenDSS' fleets move
#: no storage by less than 1 kW.
NEAR, NEAR_MW = 100.0, 1e-3


def settle(
    engine: Engine, acting: Controlling, network: Network, topology: Topology, settings: Settings
) -> Settled:
    """The network with its controllers where the engine's own controls leave them.

    Raises ProblemError (what the engine has no control for) and NotConvergedError.
    """
    plan = Plan(network, topology)
    stepping = [*plan.taps, *plan.steps]
    positions = {each.place: each.within(each.position) for each in stepping}
    # What does not look at the voltage is known at once.
    known = {
        Place(droops.rows.kind, row, field): value
        for droops in plan.droops
        for row, fields in droops.fields(droops.law(np.ones(len(droops.at)))).items()
        for field, value in fields.items()
    }
    resting = {place: 0.0 for fleet in plan.fleets for place in fleet.places()}
    values: Values = {}
    rests = moved = False
    flows = 1
    for _ in range(ROUNDS):
        flows += 1
        values, rests = acting.act(
            with_values(network, {**resting, **positions}), topology, settings
        )
        ended = {place: values[place] for place in positions}
        moved, positions = ended != positions, ended
        if not rests or not moved:
            break
    final = with_values(network, {**known, **resting, **values})
    with engine.build(final, topology, settings) as model:
        solution = model.power_flow()
        script = model.script() if settings.export_script else None
    tables = complete(final, topology, settings, solution.tables)
    look = Phased if settings.model == "unbalanced" else Answered
    answered = look(final, topology, settings, tables)
    restless = [each for each in stepping if _could_move(each, answered, positions[each.place])]
    end = End(plan, answered, positions, {each.place for each in restless}, NEAR, NEAR_MW)
    told = [network.rows(each.place.kind).label(each.place.row) for each in restless]
    how = "stop" if rests and not moved else "find no rest"
    warnings = [f"The engine's controls {how} where these are not content: {', '.join(told)}."]
    state = State(final, solution, tables, script)
    return Settled(state, records(network, end, {}), flows, warnings if told else [])


def _could_move(each: Stepping, answered: Answered, position: float) -> bool:
    """Whether a controller is not content and has somewhere to go."""
    wanted = each.step(answered, position)
    return each.off(answered, position) > EDGE_PU and each.within(position + wanted) != position
