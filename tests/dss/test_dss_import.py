"""POST /import-opendss: what is read, what is refused, and that nothing is executed."""

from __future__ import annotations

import contextlib
import io
import json
import time
import zipfile
from typing import Any

import ieee
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from electrisim.dss import graph, read_archive, read_script
from electrisim.dss.archive import MOST_DEPTH, MOST_ENTRIES
from electrisim.dss.commands import spoken
from electrisim.problems import KINDS, ProblemError
from opendss_context import opendssdirect
from opendss_session import check

CIRCUIT = """New Circuit.small basekv=20 bus1=a r1=0 x1=.01 r0=0 x0=.01
New Line.cable bus1=a bus2=b r1=.2 x1=.1 r0=.8 x0=.4 c1=200 c0=100 length=5 units=km normamps=270
New Load.village bus1=b kv=20 kw=2000 kvar=400
New Transformer.t buses=[b c] kvs=[20 .4] kvas=[400 400] conns=[delta wye] xhl=6
New Load.house bus1=c kv=.4 kw=100
New Capacitor.bank bus1=b kv=20 kvar=300
New PVSystem.roof bus1=c kv=.4 pmpp=50 kva=50
"""


def imported(client, script: str, **more: Any) -> Any:
    response = client.post("/import-opendss", json={"opendss": script, **more})
    assert response.status_code == 200, response.text
    return response.get_json()


def messages(client, script: str) -> list[str]:
    response = client.post("/import-opendss", json={"opendss": script})
    assert response.status_code == 422, response.text
    assert {error["kind"] for error in response.get_json(force=True)["errors"]} <= KINDS.keys()
    return [error["message"] for error in response.get_json(force=True)["errors"]]


# -- what comes back -------------------------------------------------------------------------------


def test_a_circuit_comes_back_as_elements_with_settings_and_a_parity_report(client):
    body = imported(client, CIRCUIT)
    assert body["elements"]["line.cable"] == {
        "typ": "Line", "name": "cable",
        "parameters": {
            "from_bus": "bus.a", "to_bus": "bus.b", "length_km": 5.0, "max_i_ka": 0.27,
            "r_ohm_per_km": pytest.approx(0.2), "r0_ohm_per_km": pytest.approx(0.8),
            "x_ohm_per_km": pytest.approx(0.1), "x0_ohm_per_km": pytest.approx(0.4),
            "c_nf_per_km": pytest.approx(200), "c0_nf_per_km": pytest.approx(100),
        },
    }  # fmt: skip
    assert body["settings"] == {"solver": "opendss", "frequency": 60.0, "source_impedance": True}
    parity = body["parity"]
    assert parity["status"] == "agree"
    assert parity["engine"].startswith("EPRI OpenDSS")
    assert parity["max_vm_difference_pu"] < 1e-6


def test_the_elements_and_settings_are_a_request(client):
    body = imported(client, CIRCUIT, parity=False)
    assert body["parity"] is None
    request = {"simulationType": "powerflow", "elements": body["elements"]}
    response = client.post("/", json={**request, "settings": body["settings"]})
    assert response.status_code == 200, response.text


def test_a_script_stands_for_the_elements_of_any_study(client):
    elements = {"opendss": CIRCUIT + "Solve\n"}
    ideal = {"solver": "pandapower"}
    one = client.post("/", json={"simulationType": "powerflow", "elements": elements})
    other = client.post(
        "/", json={"simulationType": "powerflow", "elements": elements, "settings": ideal}
    )
    assert one.status_code == other.status_code == 200
    assert one.get_json()["engine"]["name"] == "opendss"
    assert other.get_json()["engine"]["name"] == "pandapower"
    assert "Line 8: solve was passed over: nothing is executed." in one.get_json()["warnings"]
    mixed = client.post(
        "/", json={"simulationType": "powerflow", "elements": {**elements, "b": {"typ": "Bus"}}}
    )
    assert mixed.status_code == 422


def test_a_plain_text_is_a_script(client):
    response = client.post("/import-opendss", data=CIRCUIT, content_type="text/plain")
    assert response.get_json()["parity"]["status"] == "agree"


def test_a_load_below_its_band_is_named_where_the_graph_differs(client):
    """At 0.9 pu OpenDSS makes an impedance of it (vminpu 0.95), the graph does not."""
    body = imported(client, CIRCUIT.replace("basekv=20", "basekv=20 pu=.9"))
    assert body["parity"]["status"] == "differ"
    assert "load.village" in body["parity"]["outside_band"]


REGULATED = """New Circuit.t basekv=115 bus1=s pu=1.0 r1=.1 x1=1 r0=.1 x0=1
New Transformer.t buses=(s a) conns=(delta wye) kvs=(115 12.47) kvas=(10000 10000) xhl=8
New Transformer.v buses=(a b) kvs=(12.47 12.47) kvas=(10000 10000) xhl=1
New RegControl.r transformer=v winding=2 vreg=122 band=2 ptratio=60 maxtapchange=1
New Load.a bus1=b kv=12.47 kw=5000 pf=.9 vminpu=.5
"""


def test_a_regulator_steps_where_controllers_act(client):
    """From neutral to where OpenDSS itself stops, one step at a time."""
    body = imported(client, REGULATED)
    assert "acts in studies with run_control" in body["notes"][0]["message"]
    assert body["parity"]["status"] == "agree"
    dss = opendssdirect.dss.NewContext()
    for line in ["clearall", *REGULATED.splitlines(), "solve", "? transformer.v.tap"]:
        dss.Text.Command(line)
    tap = float(dss.Text.Result())
    dss.Text.Command("clearall")
    request = {"simulationType": "controller", "elements": {"opendss": REGULATED}}
    (controller,) = client.post("/", json=request).get_json()["controllers"]
    assert controller["tap_pos_initial"] == 0
    assert 1 + 0.00625 * controller["tap_pos"] == pytest.approx(tap)
    assert tap > 1.03


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("R=3 X=9", "line drop compensation"),
        ("bus=s.1", "another bus"),
        ("reversible=yes", "direction"),
        ("enabled=no", "disabled"),
    ],
)
def test_a_regulator_that_the_graph_cannot_say_is_noted_and_its_taps_stay(client, more, why):
    script = REGULATED.replace("band=2", f"band=2 tapnum=4 {more}")
    body = imported(client, script)
    assert why in body["notes"][0]["message"]
    unit = body["elements"]["transformer.v"]["parameters"]
    assert "tap_control" not in unit
    assert unit["tap_pos"] == 4
    assert body["parity"]["status"] == "agree"


def test_other_controls_are_noted_and_steps_stay(client):
    body = imported(client, CIRCUIT + "New CapControl.r capacitor=bank type=kvar\n")
    assert body["notes"][0]["place"] == "Line 8"
    assert "steps stay" in body["notes"][0]["message"]


@pytest.mark.skipif(not ieee.TABLES.exists(), reason="reads ../shared")
def test_the_ieee_13_node_feeder_is_the_same_for_both(client):
    parity = imported(client, ieee.Feeder("ieee13").script())["parity"]
    assert parity["status"] == "agree"
    assert parity["nodes"] == 35 + 3
    assert parity["max_vm_difference_pu"] < 1e-6


# -- attacks ---------------------------------------------------------------------------------------

ATTACKS = {
    "DOScmd touch /tmp/pwned": "The command doscmd is refused",
    "dosc touch /tmp/pwned": "The command doscmd is refused",
    "Redirect /etc/passwd": "The command redirect is refused",
    "Compile ../../secret.dss": "The command compile is refused",
    "Export voltages /tmp/pwned.csv": "The command export is refused",
    "Show voltages": "The command show is refused",
    "Save circuit dir=/tmp/pwned": "The command save is refused",
    "CD /tmp": "The command cd is refused",
    "FileEdit /etc/passwd": "The command fileedit is refused",
    "Plot circuit": "The command plot is refused",
    "Dump": "The command dump is refused",
    "BusCoords /etc/passwd": "The command buscoords is refused",
    "Set datapath=/tmp": "The option datapath of Set is refused",
    "Set allowdoscmd=yes": "The option allowdoscmd of Set is refused",
    "Var @x=1": "The command var is refused",
    "BatchEdit Load..* kw=1": "The command batchedit is refused",
    "New LoadShape.s npts=2 mult=(file=/etc/passwd)": "mult reads a file",
    "New LoadShape.s npts=2 mult=[sngfile = /etc/passwd]": "mult reads a file",
    "New LoadShape.s npts=2 csvfile=/etc/passwd": "csvfile is refused",
    "New Spectrum.s csvfile=/etc/passwd": "csvfile reads a file",
    "New Monitor.m mode=(file=x)": "mode reads a file",
    "New Load.x bus1=b kw=(file=/etc/passwd)": "kw reads a file",
    "New Generator.g bus1=b kw=1 usermodel=/tmp/evil.so": "usermodel is refused",
    "New Storage.g bus1=b dynadll=/tmp/evil.so": "dynadll is refused",
    "New LineGeometry.g nconds=3": "The class linegeometry is refused",
    "New Fuse.f monitoredobj=Line.cable": "The class fuse is refused",
    "Clear": "Clear after the circuit is refused",
    "New Circuit.second": "A second circuit is refused",
    "New Load.x bus1=b kw=nan": "must be a number",
    "New Load.x bus1=b kw=1e999": "must be a number",
    "New Load.x bus1=b kw=(1 0 /)": "reverse Polish",
    "New Load.x bus1=b kw=(__import__('os'))": "reverse Polish",
    'New "Load.x': "is not closed",
    "New Load.x bus1=b kw=1\nfoo bar": "no command of OpenDSS",
    "New Load.village bus1=b": "exists already",
    "Edit Load.nobody kw=1": "There is no load.nobody yet",
    "New Load.x bus1=b color=red": "has no property",
    "New Lode.x bus1=b": "no class of OpenDSS. Did you mean “load”?",
    "Load.village.kw.=1": "There is no load.village.kw yet",
    "New Load.x bus1=b.5 phases=1": "no phases or earth",
    "New Load.x bus1=b model=4": "has model 4",
    "New Line.x bus1=a.1.2.3 bus2=b.2.3.1": "a transposition",
    "New Line.x bus1=a bus2=b phases=1000000000": "conductors",
    "New Line.x like=cable bus1=a bus2=b": "like another line",
    "New Capacitor.x bus1=b numsteps=1000000000": "steps",
    "New Transformer.x windings=1000000000": "must be from 1 to 10",
}


@pytest.mark.parametrize("line", ATTACKS)
def test_what_is_not_a_circuit_is_refused_with_its_line(client, line):
    found = messages(client, CIRCUIT + line + "\n")
    assert any(ATTACKS[line] in message for message in found), found
    assert all(message.startswith(("Line 8: ", "Line 9: ")) for message in found)


def test_every_fault_of_a_script_is_told_at_once(client):
    found = messages(
        client, CIRCUIT + "Export voltages\nNew Load.x bus1=b kw=abc hue=1\nShow taps\n"
    )
    assert len(found) == 4


def test_names_of_a_script_reach_no_engine():
    """Whatever is called so, the commands are made of our own words."""
    script = CIRCUIT.replace("Load.village", '"Load.x; DOScmd touch y"').replace(
        "bus2=b", "bus2='b'"
    )
    said = spoken(read_script(script))
    check(said.commands)
    assert not any("doscmd" in command.lower() for command in said.commands)


# -- zips ------------------------------------------------------------------------------------------


def zipped(files: dict[str, str | bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def refusal(body: bytes, main: str | None = None) -> str:
    with pytest.raises(ProblemError) as error:
        graph(read_archive(body, main))
    return error.value.sentence


def test_files_of_a_zip_redirect_to_each_other(client):
    head, *rest = CIRCUIT.splitlines(keepends=True)
    body = zipped({
        "feeder/Master.dss": f"Clear\n{head}Redirect parts\\lines.DSS\nBusCoords xy.csv\n",
        "feeder/parts/Lines.dss": rest[0] + "Redirect loads.dss\n",
        "feeder/parts/loads.dss": "".join(rest[1:]),
    })  # fmt: skip
    response = client.post("/import-opendss", data=body, content_type="application/zip")
    assert response.status_code == 200, response.text
    assert response.get_json()["parity"]["status"] == "agree"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Redirect /etc/passwd", "leaves the zip"),
        ("Redirect ../other.dss", "leaves the zip"),
        ("Redirect C:\\secret.dss", "leaves the zip"),
        ("Redirect missing.dss", "has no file"),
        ("Redirect main.dss", "more than 20 deep"),
        ("Redirect a=b", "only a zip may bring"),
    ],
)
def test_a_path_out_of_the_zip_or_in_circles_is_refused(line, said):
    found = refusal(zipped({"main.dss": CIRCUIT.partition("\n")[0] + "\n" + line}), "main.dss")
    # In circles the circuit is made again and again, which is refused as well.
    with pytest.raises(ProblemError) as error:
        read_archive(zipped({"main.dss": line}), "main.dss")
    assert said in error.value.sentence or said in found


def test_a_bomb_is_not_unpacked():
    bomb = zipped({"main.dss": b"!" + b" " * (200 << 20)})
    assert len(bomb) < 1 << 20
    started = time.perf_counter()
    assert "more than" in refusal(bomb, "main.dss")
    assert time.perf_counter() - started < 5


def test_the_same_file_read_again_and_again_counts_each_time():
    files: dict[str, str | bytes] = {
        f"f{k}.dss": f"Redirect f{k + 1}.dss\n" * 10 for k in range(MOST_DEPTH - 2)
    }
    files[f"f{MOST_DEPTH - 2}.dss"] = "! much\n" * 100_000
    started = time.perf_counter()
    assert "more than" in refusal(zipped(files), "f0.dss")
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({f"{k}.txt": "" for k in range(MOST_ENTRIES + 1)}, "entries"),
        ({"a.dss": CIRCUIT, "b.dss": CIRCUIT}, "which file makes the circuit"),
        ({"a.csv": "1,2"}, "which file makes the circuit"),
    ],
    ids=["many", "two circuits", "no circuit"],
)
def test_a_zip_that_cannot_be_read_is_told_why(files, said):
    assert said in refusal(zipped(files))


def test_a_broken_zip_is_refused(client):
    whole = zipped({"main.dss": CIRCUIT})
    for body in (whole[:40], whole[:-30], b"PK\x03\x04" + bytes(100)):
        response = client.post("/import-opendss", data=body)
        assert response.status_code == 422, response.text


# -- the browser's spelling ------------------------------------------------------------------------


def test_the_browser_gets_positional_tables(client):
    response = client.post("/import-opendss", json={"content": CIRCUIT})
    assert response.status_code == 200, response.text
    tables = {
        name: json.loads(table["_object"])["data"]
        for name, table in response.get_json()["_object"].items()
    }
    assert tables.keys() == {
        "bus", "line", "switch", "ext_grid", "gen", "sgen", "trafo", "trafo3w", "shunt", "load",
        "impedance", "ward", "xward", "motor", "storage", "asymmetric_load", "asymmetric_sgen",
        "svc", "tcsc", "dcline", "pvsystems",
    }  # fmt: skip
    assert [row[0] for row in tables["bus"]] == ["a", "b", "c"]
    (cable,) = tables["line"]
    assert cable[:5] == ["cable", None, 0, 1, 5.0]
    assert cable[5:8] == pytest.approx([0.2, 0.1, 200])
    assert cable[9:] == [0.27, 1.0, 1, None, True]
    village = tables["load"][0]
    assert village[:4] == ["village", 1, 2.0, 0.4]
    # The sign of a capacitor and its voltage are pandapower's.
    assert tables["shunt"][0][:5] == [1, "bank", pytest.approx(-0.3), 0.0, 20.0]
    (unit,) = tables["trafo"]
    assert unit[:4] == ["t", None, 1, 2]
    assert unit[11] == 30.0
    assert len(unit) == 24
    assert tables["pvsystems"][0][:4] == ["roof", 2, 1.0, 50.0]


def test_the_browser_is_told_what_its_tables_have_no_place_for(client):
    script = CIRCUIT + "New Load.one bus1=c.1 phases=1 kv=.23 kw=1\n"
    response = client.post("/import-opendss", json={"content": script})
    assert response.status_code == 422
    (error,) = response.get_json(force=True)["errors"]
    assert error["element"] == "load.one"


@pytest.mark.parametrize("body", [{}, [], {"opendss": 1}, {"opendss": "", "color": 1}, "x", None])
def test_other_bodies_are_refused(client, body):
    assert client.post("/import-opendss", json=body).status_code in (400, 422)


# -- chance ----------------------------------------------------------------------------------------

# fmt: off
WORDS = st.sampled_from([
    "new", "edit", "~", "more", "set", "solve", "clear", "open", "close", "like", "wdg", "bus1",
    "bus2", "buses", "kv", "kvs", "kw", "kvar", "pf", "model", "conn", "phases", "length", "units",
    "linecode", "xfmrcode", "rmatrix", "tap", "taps", "windings", "numsteps", "zipv", "state",
    "line.l", "load.d", "transformer.t", "linecode.c", "capacitor.k", "generator.g", "circuit.c",
    "xycurve.x", "b.1.2.3", "b", "b.1", "c", "=", "[", "]", "(", ")", "{", "}", "|", ",", "!",
    "//", "/*", "*/", '"', "'", "1", "0", "-1", ".5", "1e3", "1e308", "nan", "mi", "km", "none",
    "yes", "no", "delta", "wye", "file=x", "@v", "\n", "\n", "\n",
])
# fmt: on
TEXTS = st.lists(WORDS, max_size=60).map(" ".join) | st.text(max_size=200)


@settings(max_examples=200, deadline=5000, derandomize=True)
@given(TEXTS, st.booleans())
def test_no_text_breaks_the_reader(text, after_a_circuit):
    """A graph, or problems; never another error, and never for long."""
    try:
        circuit = read_script(CIRCUIT + text if after_a_circuit else text)
        graph(circuit)
        check(spoken(circuit).commands)
    except ProblemError as error:
        assert error.problems
        assert all(problem.message for problem in error.problems)


@settings(max_examples=25, deadline=10000, derandomize=True)
@given(st.lists(WORDS, max_size=40).map(" ".join))
def test_no_text_breaks_the_server(app, text):
    response = app.test_client().post(
        "/import-opendss", json={"opendss": CIRCUIT + text, "parity": False}
    )
    assert response.status_code in (200, 422), response.text


@pytest.mark.parametrize(
    "text",
    [
        CIRCUIT + "New LoadShape.s mult=(" + "(" * 900_000 + ")",
        CIRCUIT + "New Load.x kw=(" + "1 " * 400_000 + ")",
        CIRCUIT + "(" * 900_000,
        CIRCUIT + "New Load.x like=village bus1=b\nNew Load.y like=x bus1=b\n" * 2_000,
        CIRCUIT + "foo\n" * 20_000,
        CIRCUIT + "Open Line.cable 1\nClose Line.cable 1\n" * 5_000,
        CIRCUIT + "Edit Load.nobody kw=1\n" * 5_000,
        CIRCUIT + "Set voltagebases=[" + "1 " * 400_000 + "]",
        "/*" + "x\n" * 100_000,
    ],
    ids=range(9),
)
def test_no_text_takes_long(text):
    started = time.perf_counter()
    with contextlib.suppress(ProblemError):
        graph(read_script(text))
    assert time.perf_counter() - started < 20
