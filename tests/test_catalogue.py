"""The catalogue: every kind documented, wired, and in pandapower's own words.

pandapower ships a schema of its tables; its column names and units are the referee of ours. Its
bounds are advice: they refuse what network equivalents have.
"""

from __future__ import annotations

import importlib

import msgspec
import pytest

from electrisim.elements import FIELDS, KIND, KINDS, PVSystem, Switch, kind_named
from electrisim.fields import read
from electrisim.results import COLUMNS, COLUMNS_3PH, unit_of

#: A kind's schema in pandapower, by its table.
SCHEMAS = {
    "vsc_stacked": ("vsc_schema", "vsc_stacked_schema"),
    "vsc": ("vsc", "vsc_schema"),
}
#: Columns that only label, or belong to studies and tables that are not spoken here.
BEYOND = {
    "": {"name", "zone", "geo"},
    "trafo": {"id_characteristic_table"},
    "line": {
        "tdpf", "wind_speed_m_per_s", "wind_angle_degree", "conductor_outer_diameter_m",
        "air_temperature_degree_celsius", "reference_temperature_degree_celsius",
        "solar_radiation_w_per_sq_m", "solar_absorptivity", "emissivity",
        "r_theta_kelvin_per_mw", "mc_joule_per_m_k",
    },
    "line_dc": {
        "alpha", "temperature_degree_celsius", "tdpf", "wind_speed_m_per_s", "wind_angle_degree",
        "conductor_outer_diameter_m", "air_temperature_degree_celsius",
        "reference_temperature_degree_celsius", "solar_radiation_w_per_sq_m",
        "solar_absorptivity", "emissivity", "r_theta_kelvin_per_mw", "mc_joule_per_m_k",
    },
    # Placeholders of pandapower's, one column for six that the catalogue names one by one.
    "trafo3w": {"vkr0_x", "vk0_x"},
}  # fmt: skip
#: The last words of a field's name, and the unit that they promise.
UNITS = {
    "mw": "MW", "mvar": "Mvar", "mva": "MVA", "kv": "kV", "ka": "kA", "kw": "kW", "pu": "pu",
    "km": "km", "mwh": "MWh", "ohm": "Ω", "ohm_per_km": "Ω/km", "nf_per_km": "nF/km",
    "us_per_km": "µS/km", "degree": "degree", "percent": "%", "kva": "kVA", "kvar": "kvar",
    "kw_per_m2": "kW/m²", "degree_celsius": "°C",
}  # fmt: skip


def schema_of(kind):
    module, name = SCHEMAS.get(kind.table, (kind.table, f"{kind.table}_schema"))
    return getattr(importlib.import_module(f"pandapower.network_schema.{module}"), name)


of_every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@of_every_kind
def test_every_field_has_a_sentence_and_every_number_a_unit(kind):
    assert kind.__doc__
    for field in FIELDS[kind].values():
        assert field.meaning.endswith("."), field.name
        assert (field.unit is not None) == (field.type in ("number", "integer")), field.name


@of_every_kind
def test_a_unit_is_the_last_word_of_its_name(kind):
    for field in FIELDS[kind].values():
        words = [word for word in UNITS if field.name.endswith(f"_{word}") or field.name == word]
        if field.unit and words and "_eur" not in field.name and field.name != "endtemp_degree":
            assert field.unit == UNITS[max(words, key=len)], field.name


@of_every_kind
def test_the_names_are_pandapowers(kind):
    """Every column of pandapower's schema is a field, or a label or table named above."""
    if kind is PVSystem:  # OpenDSS' own
        return
    columns = set(schema_of(kind).columns)
    beyond = BEYOND[""] | BEYOND.get(kind.table, set())
    assert columns - beyond <= FIELDS[kind].keys() | {"type"}


@of_every_kind
def test_what_pandapower_requires_is_required_or_has_a_default(kind):
    if kind is PVSystem:
        return
    fields = FIELDS[kind]
    for name, column in schema_of(kind).columns.items():
        if name in fields and column.required and fields[name].refers_to:
            assert fields[name].required, name


@of_every_kind
def test_every_kind_is_found_by_its_words_and_has_results(kind):
    for word in (kind.typ, kind.typ.lower(), kind.typ.replace(" ", "-"), f"{kind.typ} 12"):
        assert kind_named(word) is kind
    assert KIND[kind.typ] is kind
    assert COLUMNS[kind]
    for column in (*COLUMNS[kind], *COLUMNS_3PH.get(kind, ())):
        assert unit_of(column) != "1", column


@of_every_kind
def test_every_port_is_a_reference_with_columns_that_exist(kind):
    for port in kind.ports:
        field = {"from_bus": "bus", "to_bus": "element"}.get(port.bus) if kind is Switch else None
        assert FIELDS[kind][field or port.bus].refers_to
        assert {port.p, port.q} - {None, ""} <= set(COLUMNS[kind])


@of_every_kind
def test_every_engine_says_what_it_does_with_it(app, kind):
    for engine in app.extensions["engines"]:
        for support in engine.support.values():
            assert support[kind].state in ("derived", "translated", "unsupported")
            assert support[kind].state != "unsupported" or support[kind].note


@of_every_kind
def test_the_smallest_element_of_a_kind_can_be_read(kind):
    """Its required fields alone, at values within their bounds."""
    least = {}
    for field in FIELDS[kind].values():
        if field.required:
            number = field.bounds.get("ge", field.bounds.get("gt", field.bounds.get("lt", 2.0)))
            number += ("gt" in field.bounds) - ("lt" in field.bounds and "gt" not in field.bounds)
            number = min(number, field.bounds.get("le", number))
            least[field.name] = {"number": number, "choice": (field.choices or [None])[0]}.get(
                field.type, "b1"
            )
    record, problems = read(kind, least, kind.typ)
    assert problems == []
    assert isinstance(record, msgspec.Struct)
