"""Time series in the browser's spelling.

A drawn profile tells active power, absolutely or as a factor; reactive power goes with it, so that
the power factor stays. Rows are grouped by what is shown, so that labels must differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.engine import Engines
from electrisim.fields import read
from electrisim.network import Network, fault
from electrisim.problems import Problem, ProblemError, shorten
from electrisim.results import Answer
from electrisim.studies import timeseries
from electrisim.wire.frontend.conversions import number
from electrisim.wire.frontend.report import Report
from electrisim.wire.frontend.study import Body, Parameters, Request, Spoken

_WORDS = {
    "time_steps": "time_steps",
    "frequency": "frequency",
    "algorithm": "algorithm",
    "calculate_voltage_angles": "calculate_voltage_angles",
    "init": "init",
    "load_profile": "load_profile",
    "generation_profile": "generation_profile",
}
_OF_THE_BROWSER = ("typ", "user_email", "profile_mode", "element_profiles")
#: What the dialog's algorithms are here.
_ALGORITHMS: Mapping[str, Mapping[str, str]] = {
    "fastdecoupled": {"algorithm": "fdbx"},
    "dc": {"mode": "dc"},
}
#: The hours that the client shows begin here.
START = "2024-01-01T00:00:00"
#: The client's lists: key → kinds and quantities.
_LISTS: Mapping[str, tuple[tuple[type[Element], ...], tuple[str, ...]]] = {
    "busbars": ((e.Bus,), ("vm_pu", "va_degree", "p_mw", "q_mvar")),
    "lines": ((e.Line,), ("loading_percent", "p_from_mw", "p_to_mw")),
    "loads": ((e.Load, e.AsymmetricLoad), ("p_mw", "q_mvar")),
    "sgens": ((e.StaticGenerator, e.AsymmetricStaticGenerator), ("p_mw", "q_mvar")),
    "gens": ((e.Generator,), ("p_mw", "q_mvar")),
}


_POWERS = ("p_mw", "q_mvar")
_PHASES = tuple(f"{pq}_{ph}_{unit}" for pq, unit in (("p", "mw"), ("q", "mvar")) for ph in "abc")
#: The powers that a drawn profile sets: first the active ones.
_FIELDS: Mapping[type[Element], tuple[str, ...]] = {
    e.Load: _POWERS,
    e.StaticGenerator: _POWERS,
    e.Storage: _POWERS,
    e.Generator: ("p_mw",),
    e.AsymmetricLoad: _PHASES,
    e.AsymmetricStaticGenerator: _PHASES,
}


class Drawn(timeseries.TimeSeries, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time series with the profiles as the browser draws them, which need the network to be read.

    element_profiles  element id → element_type, mode, values, display_name
    """

    element_profiles: dict[str, Any] = msgspec.field(default_factory=dict)


def _read(parameters: Parameters, report: Report) -> Drawn | None:
    outputs: dict[str, list[str]] = {}
    for kinds, quantities in _LISTS.values():
        outputs |= {kind.key: list(quantities) for kind in kinds}
    values: Body = {"outputs": outputs, "start": START}
    for word, value in parameters.items():
        if word in _WORDS:
            values[_WORDS[word]] = value.strip().lower() if isinstance(value, str) else value
        elif word not in _OF_THE_BROWSER:
            report.note("", "", f"The parameter “{shorten(word)}” is unknown and was ignored")
    if values.get("algorithm") in _ALGORITHMS:
        values |= {"algorithm": None, **_ALGORITHMS[values["algorithm"]]}
    if values.get("mode") == "dc":
        values.pop("calculate_voltage_angles", None)
        values.pop("init", None)
    settings, problems = read(timeseries.TimeSeries, values, "The time series", "setting")
    report.problems += problems
    drawn = parameters.get("element_profiles") or {}
    if not isinstance(drawn, dict):
        message = "The time series: element_profiles must be an object of profiles by element."
        report.problems.append(
            Problem(kind="not-an-object", message=message, field="element_profiles")
        )
    if settings is None or report.problems:
        return None
    return Drawn(**msgspec.structs.asdict(settings), element_profiles=drawn)


def _run(network: Network, settings: Drawn, engines: Engines) -> Answer:
    drawn = {id_: each for id_, each in settings.element_profiles.items() if id_ in network.ids}
    problems = [problem for id_, each in drawn.items() for problem in _faults(network, id_, each)]
    if problems:
        raise ProblemError(problems)
    profiles = {id_: _profile(network, id_, each) for id_, each in drawn.items()}
    found = timeseries.run(network, msgspec.structs.replace(settings, profiles=profiles), engines)
    unused = [shorten(id_) for id_ in settings.element_profiles if id_ not in drawn]
    if not unused:
        return found
    warning = f"Profiles of nothing that takes part were not used: {', '.join(unused)}."
    return msgspec.structs.replace(found, warnings=(*found.warnings, warning))


def _faults(network: Network, id_: str, drawn: Any) -> Iterator[Problem]:
    """Why a drawn profile is none."""
    kind, row = network.ids[id_]
    values = drawn.get("values") if isinstance(drawn, dict) else None
    if kind not in _FIELDS:
        text = "has a drawn profile, but no power of its own that it could be"
    elif not isinstance(values, list) or None in map(number, values):
        text = "has a drawn profile that is no list of numbers"
    elif drawn.get("mode", "absolute") not in ("absolute", "scale"):
        text = f"has a drawn profile of the unknown mode “{shorten(drawn['mode'])}”"
    else:
        return
    yield fault(network.rows(kind), row, "element_profiles", "wrong-form", text)


def _profile(network: Network, id_: str, drawn: Mapping[str, Any]) -> timeseries.Profile:
    """A drawn profile as changes of active and reactive power."""
    kind, row = network.ids[id_]
    fields = _FIELDS[kind]
    own = {field: float(network.rows(kind).column(field)[row]) for field in fields}
    active = [field for field in fields if field.startswith("p_")]
    values = np.array([number(value) for value in drawn["values"]], dtype=float)
    total = sum(own[field] for field in active)
    if drawn.get("mode") == "scale":
        shares = own
    elif total:
        shares = {field: power / total for field, power in own.items()}
    else:
        # Nothing says which reactive power goes with it.
        shares = {field: 1 / len(active) for field in active}
    return {"unit": "absolute", **{f: (share * values).tolist() for f, share in shares.items()}}


# -- writing ---------------------------------------------------------------------------------------


def _write(request: Request, found: Answer) -> tuple[Body, list[str]]:
    network = request.network
    settings: Drawn = request.settings
    count = found.beside["time_steps"]
    labels = _labels(network)
    presets: Mapping[str, list[float]] = found.beside.get("presets", {})
    ones = [1.0] * count
    failed = found.beside["failed_steps"]
    body: Body = {
        "timeseries_converged": not failed,
        "time_steps": count,
        "profile_mode": request.parameters.get("profile_mode", "custom"),
        "load_profile": settings.load_profile,
        "generation_profile": settings.generation_profile,
        "load_profile_values": presets.get("load", ones),
        "generation_profile_values": presets.get("generation", ones),
        "profiles_used": _profiles_used(request),
        **_lists(request, found.series or {}, labels),
        "voltage_statistics": _statistics(found, labels, e.Bus, "vm_pu"),
        "loading_statistics": _statistics(found, labels, e.Line, "loading_percent"),
        "time_stamps": [step.replace("T", " ") for step in found.beside["steps"]],
    }
    if failed:
        body["failed_time_steps"] = failed
    # What never takes part, the study's own warnings name.
    return body, []


def _labels(network: Network) -> Mapping[str, str]:
    """element id → what is shown; the id is added where labels repeat."""
    labels = {
        id_: name or id_
        for kind in network.kinds
        for id_, name in zip(network.rows(kind).ids, network.rows(kind).names, strict=True)
    }
    count = Counter(labels.values())
    return {
        id_: label if count[label] == 1 else f"{label} ({id_})" for id_, label in labels.items()
    }


def _lists(
    request: Request, series: Mapping[type[Element], Mapping[str, Any]], labels: Mapping[str, str]
) -> Body:
    """One row per step and element that has any number then; what has none is null."""
    found: Body = {}
    for key, (kinds, quantities) in _LISTS.items():
        present = [kind for kind in kinds if kind in series]
        ids = [id_ for kind in present for id_ in request.network.rows(kind).ids]
        if not ids:
            found[key] = []
            continue
        columns = [np.hstack([series[kind][name] for kind in present]) for name in quantities]
        steps, at = np.nonzero(np.logical_or.reduce([~np.isnan(column) for column in columns]))
        names = [(request.echoes[id_].name, labels[id_]) for id_ in ids]
        fields = [(name, Any) for name in ("id", "name", "time_step", *quantities)]
        record = msgspec.defstruct("Row", fields, gc=False)
        numbers = (column[steps, at].tolist() for column in columns)
        found[key] = [
            record(*names[row], step, *values)
            for step, row, *values in zip(steps.tolist(), at.tolist(), *numbers, strict=True)
        ]
    return found


def _profiles_used(request: Request) -> Body:
    used: Body = {}
    for id_, drawn in request.settings.element_profiles.items():
        if id_ in request.network.ids:
            mode = drawn.get("mode", "absolute")
            used[id_] = {
                "mode": mode,
                "declared_mode": mode,
                "values": [number(value) for value in drawn["values"]],
                "element_type": drawn.get("element_type"),
                "display_name": drawn.get("display_name"),
                "id": id_,
            }
    return used


def _statistics(
    found: Answer, labels: Mapping[str, str], kind: type[Element], quantity: str
) -> Body:
    figures = found.beside["statistics"].get(kind.key, {"ids": []})
    of_quantity = figures.get(quantity, {})
    return {
        labels[id_]: {
            f"min_{quantity}": low,
            f"max_{quantity}": high,
            f"avg_{quantity}": mean,
        }
        for id_, low, high, mean in zip(
            figures["ids"], *(of_quantity.get(name, []) for name in ("min", "max", "mean")),
            strict=False,
        )
        if low == low
    }  # fmt: skip


ON_PANDAPOWER = Spoken(_read, _run, _write)
