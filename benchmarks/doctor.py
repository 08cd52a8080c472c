"""The diagnosis of networks in which a fault was planted, beside pandapower's own diagnostic.

    python -m benchmarks.doctor [draws] [network …] [--ours]

Every kind of fault is planted in every network that has something to plant it in. What then still
has a solution, or is refused by name before solving, is counted and set aside: of the rest there
are counted, on either side,

    cause    one of the first three causes names the faulty element among at most three (of faults
             that are not one element's: it is of the rule that says so)
    repair   the network sent again with the first cause's repair applied has a certified solution
    undone   … and what that repair sets is the planted field, within a half of its value before

pandapower's diagnostic is judged as kindly as can be: it has no order, so that *any* of its checks
may name the element, among any number; its repair is any of the changes under which one of its
checks found that the power flow converges.
"""

from __future__ import annotations

import copy
import json
import logging
import random
import statistics
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pandapower as pp
from pandapower.diagnostic import Diagnostic

from app import app
from benchmarks.faults import FAULTS, Planted
from benchmarks.networks import NETWORKS, Elements
from electrisim.wire import answer_request
from tests.hand import Hand

#: So many causes are read, and a cause may name so many elements.
READ, NAMED = 3, 3


class Judged(NamedTuple):
    """What one diagnosis was worth."""

    cause: bool
    repair: bool
    undone: bool
    seconds: float


class Case(NamedTuple):
    """A network with a fault and what became of it.

    became   solved, refused or failed
    """

    fault: str
    network: str
    became: str
    refusal_names_it: bool
    ours: Judged | None
    theirs: Judged | None


def ask(elements: Elements, settings: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    engines = app.extensions["engines"]
    body = {"simulationType": "powerflow", "elements": elements, "settings": dict(settings)}
    library = engines["pandapower"].standard_types
    status, _, answer = answer_request(json.dumps(body).encode(), engines, library)
    return status, json.loads(answer)


# -- ours ------------------------------------------------------------------------------------------


def judge(elements: Elements, planted: Planted, answer: Mapping[str, Any], s: float) -> Judged:
    """Our diagnosis, its first repair sent again."""
    causes = answer["diagnosis"][:READ]
    named = any(_names(cause, planted) for cause in causes)
    repair = next((cause["repair"] for cause in causes[:1] if cause["repair"]), [])
    if not repair:
        return Judged(named, False, False, s)
    mended, settings = _mended(elements, planted.settings, repair)
    status, _ = ask(mended, settings)
    undone = status == 200 and _undone(repair, planted)
    return Judged(named, status == 200, undone, s)


def _names(cause: Mapping[str, Any], planted: Planted) -> bool:
    if cause["rule"] in planted.rules:
        return True
    count = NAMED if len(planted.elements) < 2 else NAMED + len(planted.elements)
    return len(cause["elements"]) <= count and not planted.elements.isdisjoint(cause["elements"])


def _mended(
    elements: Elements, settings: Mapping[str, Any], repair: Iterable[Mapping[str, Any]]
) -> tuple[Elements, dict[str, Any]]:
    mended, chosen = copy.deepcopy(elements), dict(settings)
    for edit in repair:
        if edit["element"] is None:
            chosen[edit["field"]] = edit["value"]
        else:
            mended[edit["element"]]["parameters"][edit["field"]] = edit["value"]
    return mended, chosen


def _undone(repair: Iterable[Mapping[str, Any]], planted: Planted) -> bool:
    set_to = {(edit["element"], edit["field"]): edit["value"] for edit in repair}
    return all(_alike(set_to.get(place, "not touched"), value)
               for place, value in planted.before.items())  # fmt: skip


def _alike(value: Any, before: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return bool(value == before)
    before = before or 0.0
    return abs(value - before) <= 0.5 * abs(before) + 1e-9


# -- theirs ----------------------------------------------------------------------------------------

#: Checks that solve again under a change, with what tells that it converged.
_TRIES = (
    "Overload", "OptimisticPowerflow", "WrongLineCapacitance", "WrongLineReactance",
    "WrongLineResistance", "DisableVoltageDependentLoads", "SlackGenPlacement",
    "SubNetProblemTest", "WrongSwitchConfiguration", "ImplausibleImpedanceValues",
)  # fmt: skip


def peer(elements: Elements, planted: Planted) -> Judged:
    """pandapower's diagnostic of the network made by its own create functions."""
    hand = Hand({id_: _without_arrays(each) for id_, each in elements.items()})
    start = time.perf_counter()
    found = Diagnostic().diagnose_network(hand.net, report_style=None, **planted.settings)
    seconds = time.perf_counter() - start
    places = {hand.where[id_] for id_ in planted.elements}
    fields = {field for _, field in planted.before}
    named = any(_mentions(result, places) for result in found.values())
    if not planted.elements:
        named = any(_is_true(found.get(check)) for check in ("Overload",)) and "p_mw" in fields
    repair = any(_is_true(found.get(check)) for check in _TRIES)
    return Judged(named, repair, False, seconds)


def _without_arrays(each: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an element; a PV system, which pandapower lacks, as the static generator it is."""
    given = copy.deepcopy(each["parameters"])
    if each["typ"] != "PVSystem":
        return {**each, "parameters": given}
    power = {"bus": given["bus"], "p_mw": given["pmpp_kw"] / 1e3}
    return {**each, "typ": "Static Generator", "parameters": power}


def _mentions(result: Any, places: set[tuple[str, int]], table: str = "") -> bool:
    """Whether an element's index stands anywhere below the name of its table."""
    if isinstance(result, Mapping):
        return any(_mentions(value, places, _table(key) or table) for key, value in result.items())
    if isinstance(result, (list, tuple, set)):
        return any(_mentions(value, places, table) for value in result)
    return any(_is_index(result, index) and place in (table, "") or _is_index(result, index)
               and table in ("", place) for place, index in places)  # fmt: skip


def _is_index(value: Any, index: int) -> bool:
    return not isinstance(value, bool) and hasattr(value, "__index__") and int(value) == index


_TABLES = ("bus", "line", "trafo3w", "trafo", "load", "sgen", "gen", "ext_grid", "shunt", "switch",
           "impedance", "ward", "motor", "storage", "asymmetric_load")  # fmt: skip


def _table(key: Any) -> str:
    """The table that a key of a result is about: “line”, “lines”, “trafos3w” …"""
    word = str(key).replace("trafos3w", "trafo3w")
    return next((name for name in _TABLES if word in (name, f"{name}s", f"{name}es")), "")


def _is_true(result: Any) -> bool:
    if isinstance(result, Mapping):
        return any(_is_true(value) for value in result.values())
    if isinstance(result, list):
        return any(_is_true(value) for value in result)
    return result is True


# -- the bench -------------------------------------------------------------------------------------


def cases(draws: int, networks: Iterable[str], with_peer: bool) -> Iterator[Case]:
    for name in networks:
        sound = NETWORKS[name]()
        for fault, plant in FAULTS.items():
            for draw in range(draws):
                elements = copy.deepcopy(sound)
                planted = plant(random.Random(f"{name} {fault} {draw}"), elements)
                if planted is not None:
                    yield _case(name, fault, elements, planted, with_peer)


def _case(name: str, fault: str, elements: Elements, planted: Planted, with_peer: bool) -> Case:
    start = time.perf_counter()
    status, answer = ask(elements, planted.settings)
    seconds = time.perf_counter() - start
    if status == 200:
        return Case(fault, name, "solved", False, None, None)
    if "diagnosis" not in answer:
        blamed = {error.get("element") for error in answer["errors"]}
        return Case(fault, name, "refused", not planted.elements.isdisjoint(blamed), None, None)
    ours = judge(elements, planted, answer, seconds)
    theirs = peer(elements, planted) if with_peer else None
    return Case(fault, name, "failed", False, ours, theirs)


def _share(judged: list[Judged], what: str) -> str:
    return f"{sum(getattr(each, what) for each in judged):6}"


def _line(title: str, found: list[Case]) -> str:
    failed = [case for case in found if case.ours]
    ours = [case.ours for case in failed if case.ours]
    theirs = [case.theirs for case in failed if case.theirs]
    became: dict[str, int] = defaultdict(int)
    for case in found:
        became[case.became] += 1
    told = f"{title:40} {became['solved']:6} {became['refused']:7} {len(ours):6}"
    for judged, names in ((ours, ("cause", "repair", "undone")), (theirs, ("cause", "repair"))):
        told += "  " + " ".join(_share(judged, name) if judged else "     –" for name in names)
    return told


def main() -> None:
    """Print the table: one line per fault, per network, and all."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    with_peer = "--ours" not in sys.argv
    found = []
    networks = [word for word in sys.argv[1:] if word in NETWORKS] or list(NETWORKS)
    for case in cases(numbers[0] if numbers else 1, networks, with_peer):
        found.append(case)
        if "--each" in sys.argv and case.ours and not (case.ours.cause and case.ours.repair):
            print(f"missed: {case.fault} in {case.network}: {case.ours}", flush=True)
    header = f"{'':40} {'solved':>6} {'refused':>7} {'failed':>6}  {'cause':>6} {'repair':>6} "
    print(f"pandapower {pp.__version__}\n{header}{'undone':>6}  {'cause':>6} {'repair':>6}")
    for fault in FAULTS:
        some = [case for case in found if case.fault == fault]
        if some:
            print(_line(fault, some))
    print()
    for network in networks:
        print(_line(network, [case for case in found if case.network == network]))
    print(_line("all", found))
    refused = [case for case in found if case.became == "refused"]
    kinds = {case.fault for case in found if case.became == "failed"}
    took = [case.ours.seconds for case in found if case.ours]
    print(
        f"\n{len(kinds)} kinds of fault fail to converge somewhere; of {len(refused)} refused "
        f"before solving, {sum(case.refusal_names_it for case in refused)} name the element."
        f"\nseconds, failed solution and diagnosis: median {statistics.median(took):.2f}, "
        f"longest {max(took):.2f}"
    )
    slow = [case.theirs.seconds for case in found if case.theirs]
    if slow:
        print(f"pandapower's diagnostic: {statistics.median(slow):.2f}, {max(slow):.2f}")


if __name__ == "__main__":
    main()
