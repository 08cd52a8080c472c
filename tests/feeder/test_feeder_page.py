"""The page in a headless Chromium: what it shows is what the JSON says."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
from browser import CHROMEDRIVER, CHROMIUM, Browser
from pytest import approx
from werkzeug.serving import make_server

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER), reason="chromium and chromedriver are not installed"
)

LOW, MIDDLE, HIGH = (33, 102, 172), (236, 236, 232), (178, 24, 43)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@pytest.fixture
def address(client) -> Iterator[str]:
    """Where the application that `client` asks, too, is served."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server("127.0.0.1", 0, client.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(browser, address):
    """The page of the default session, ready."""
    show(browser, f"{address}/feeder")
    return browser


def show(browser, url):
    browser.open(url)
    browser.wait("document.body.dataset.ready")


def rest(page):
    """Until nothing is under way."""
    page.wait("!document.body.hasAttribute('aria-busy')")


def said(page, what):
    page.wait(f"document.getElementById('message').textContent === {what!r}")


def results(client, path="/feeder/state"):
    return client.get(path).get_json()["results"]


def colour(voltage):
    """From grey at 1 pu to blue at 0.95 and red at 1.05."""
    share = min(1, abs(voltage - 1) / 0.05)
    end = LOW if voltage < 1 else HIGH
    # A half goes up, as in the browser.
    parts = [int(a + share * (b - a) + 0.5) for a, b in zip(MIDDLE, end, strict=True)]
    return f"rgb({parts[0]}, {parts[1]}, {parts[2]})"


def drawn(page, which=""):
    """Bus → (voltage, colour, whether it is marked as beyond the band)."""
    listed = page.run(
        """return [...document.querySelectorAll(`#feeder .bus${arguments[0]}`)].map((bus) => [
            bus.dataset.bus, bus.dataset.vm, bus.querySelector(".mark").getAttribute("fill"),
            bus.classList.contains("beyond")])""",
        which,
    )
    return {bus: (float(vm), fill, beyond) for bus, vm, fill, beyond in listed}


def assert_shows(page, client, session="/feeder"):
    """Every number on the page is the JSON's."""
    state = results(client, f"{session}/state")
    power, profile = state["power_summary"], state["voltage_profile"]
    assert page.text("#source") == f"{power['source_power_kW']:.2f}"
    assert page.text("#load") == f"{power['total_load_kW']:.2f}"
    assert page.text("#losses") == f"{power['total_losses_kW']:.2f}"
    assert page.text("#generation") == f"{state['totals']['generation_kw']:.2f}"
    voltages = [profile[f"{name}_voltage_pu"] for name in ("min", "avg", "max")]
    assert page.text("#voltages") == " / ".join(f"{value:.4f}" for value in voltages)
    taps = page.run(
        "return [...document.querySelectorAll('#regulators li')]"
        ".map((row) => [...row.children].map((cell) => cell.textContent))"
    )
    assert [(name, int(tap.replace("−", "-"))) for name, tap in taps] == [
        *state["regulators"].items()
    ]
    most = max(state["transformers"], key=lambda each: each["loading_percent"])
    assert page.text("#loaded") == most["name"]
    assert page.text("#loading") == f"{most['loading_percent']:.1f}"
    furthest = {}
    for row in state["bus_details"]:
        furthest.setdefault(row["Bus"], []).append(row["VMag_pu"])
    shown = drawn(page)
    assert set(shown) == set(furthest)
    for bus, (voltage, fill, beyond) in shown.items():
        assert voltage == max(furthest[bus], key=lambda v: abs(v - 1))
        assert fill == colour(voltage)
        assert beyond == (not 0.95 <= voltage <= 1.05)
    listed = page.run("return document.querySelectorAll('#violations li').length")
    assert listed == len(state["violations"])


def test_the_page_shows_the_feeder(page, client, feeder):
    assert page.text("#title") == "IEEE 123-node feeder"
    assert_shows(page, client)
    places = results(client, "/feeder/buses")["branches"]
    dead = {bus.bus for bus in feeder.buses.values() if bus.x is None}
    joined = [b for b in places if not dead & {b["from_bus"], b["to_bus"]}]
    assert page.run("return document.querySelectorAll('#feeder line').length") == len(joined)
    # Every bus has a place of its own.
    at = page.run(
        "return [...document.querySelectorAll('#feeder .bus')]"
        ".map((bus) => bus.getAttribute('transform'))"
    )
    assert len(set(at)) == len(at) == 130


@pytest.mark.parametrize("name", ["ieee13", "ieee34", "ieee37"])
def test_the_page_shows_other_sessions(name, browser, address, client):
    client.post("/feeder/sessions", json={"id": name, "feeder": name})
    show(browser, f"{address}/feeder?session={name}")
    assert browser.text("#title") == f"IEEE {name[4:]}-node feeder"
    assert browser.run("return document.getElementById('session').value") == name
    assert_shows(browser, client, f"/feeder/sessions/{name}")


def test_a_click_on_a_bus_shows_its_numbers(page, client):
    page.click("[data-bus='48'] .mark")
    assert page.text("#bus-title") == "Bus 48"
    rows = [row for row in results(client)["bus_details"] if row["Bus"] == "48"]
    cells = page.run(
        "return [...document.querySelectorAll('#nodes tr')].map((r) => [...r.cells].map((c) => "
        "c.textContent))"
    )
    assert cells == [
        [
            "ABC"[r["Node"] - 1],
            f"{r['VMag_pu']:.4f}",
            f"{r['VAngle']:.2f}",
            *(f"{r[name]:.1f}" for name in ("Load_kW", "Load_kVAR", "Gen_kW")),
        ]
        for r in rows
    ]


def test_a_generator_is_added_with_a_click_and_removed_again(page, client):
    page.click("[data-bus='48'] .mark")
    page.type("#kw", "500")
    page.click("#generator button")
    said(page, "Bus 48 generates 500 kW.")
    assert results(client)["totals"]["generation_kw"] == approx(500, rel=1e-6)
    assert_shows(page, client)
    assert page.run("return document.querySelectorAll('#feeder .generating').length") == 1
    page.click("#here button")
    said(page, "The generator at bus 48 is gone.")
    assert results(client)["totals"]["generation_kw"] == 0
    assert_shows(page, client)


def test_a_bus_is_chosen_with_the_keyboard_too(page):
    page.run("document.querySelector(\"[data-bus='16']\").focus()")
    page.keys("[data-bus='16']", "\ue007")
    assert page.text("#bus-title") == "Bus 16"
    assert page.run("return [...document.getElementById('phases').options].length") == 1


def test_a_refusal_is_told_and_changes_nothing(page, client):
    page.click("[data-bus='16'] .mark")
    page.type("#kw", "20000")
    page.click("#generator button")
    page.wait("document.getElementById('message').classList.contains('wrong')")
    assert "20000 kW were asked for at bus 16" in page.text("#message")
    assert results(client, "/feeder/log")["head"] == 0
    assert_shows(page, client)


def test_an_unknown_session_is_told(browser, address):
    show(browser, f"{address}/feeder?session=none")
    assert browser.text("#message") == "There is no session “none”."
    assert browser.run("return document.getElementById('message').className") == "wrong"


def test_a_server_that_is_gone_is_told(page):
    page.run("window.fetch = () => Promise.reject(new TypeError('no network'))")
    page.click("#undo")
    said(page, "The server does not answer.")


@pytest.mark.parametrize("node", [1, 2, 3])
def test_the_buses_are_coloured_by_one_phase(node, page, client):
    page.run(
        """const choice = document.getElementById("phase");
        choice.value = arguments[0];
        choice.dispatchEvent(new Event("change"));""",
        str(node),
    )
    rows = results(client)["bus_details"]
    voltages = {row["Bus"]: row["VMag_pu"] for row in rows if row["Node"] == node}
    expected = {bus: (vm, colour(vm), not 0.95 <= vm <= 1.05) for bus, vm in voltages.items()}
    assert drawn(page, "[data-vm]") == expected
    assert page.run("return document.querySelectorAll('#feeder .dead').length") == 130 - len(
        voltages
    )


def test_looking_closer_moves_buses_apart_and_back(page):
    at = "return document.querySelector(\"[data-bus='48']\").getAttribute('transform')"
    names = "return document.querySelectorAll('#feeder text[visibility=visible]').length"
    before, named = page.run(at), page.run(names)
    for _ in range(4):
        page.click("#closer")
    assert page.run(at) != before
    assert page.run(names) >= named
    page.click("#whole")
    assert page.run(at) == before


def test_a_violation_leads_to_its_bus(page, client, browser, address):
    client.post("/add_generator", json={"bus_name": "16", "phases": 1, "kw": 2000})
    show(browser, f"{address}/feeder")
    assert_shows(page, client)
    page.click("#violations button")
    worst = max(
        (v for v in results(client)["violations"] if v["severity"] == "range B"),
        key=lambda each: abs(each["value"] / each["limit"] - 1),
    )
    assert page.text("#bus-title") == f"Bus {worst['element']}"


def test_devices_and_storages_are_shown_at_their_bus_and_removed(page, client, browser, address):
    where = {"bus_name": "48", "device_name": "pump"}
    client.post("/feeder/add_device", json={**where, "kw": 30})
    storage = {"max_capacity_kwh": 100, "charge_rate_kw": 40, "discharge_rate_kw": 60}
    client.post("/feeder/add_storage_device", json={**where, **storage, "device_name": "battery"})
    show(browser, f"{address}/feeder")
    page.click("[data-bus='48'] .mark")
    told = "return [...document.querySelectorAll('#here span')].map((each) => each.textContent)"
    assert page.run(told) == ["pump, one phase: 30 kW", "battery, charging: 0 of 100 kWh"]
    for gone in ("pump", "battery"):
        page.click("#here button")
        said(page, f"{gone} is gone from bus 48.")
    added = results(client, "/feeder/additions")
    assert (added["devices"], added["storages"]) == ([], [])


def test_another_session_is_chosen_on_the_page(page, client, browser, address):
    client.post("/feeder/sessions", json={"id": "other", "feeder": "ieee13"})
    show(browser, f"{address}/feeder")
    page.run(
        """const choice = document.getElementById("session");
        choice.value = "other";
        choice.dispatchEvent(new Event("change"));"""
    )
    page.wait("location.search === '?session=other' && document.body?.dataset.ready")
    assert_shows(page, client, "/feeder/sessions/other")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (500, 800)])
def test_the_page_fits_the_window(width, height, browser, address):
    """A wide window shows all of it at once; a narrow one is scrolled, but never sideways."""
    browser.resize(width, height)
    show(browser, f"{address}/feeder")
    fits = browser.run(
        """const {scrollWidth, scrollHeight} = document.documentElement;
        return [scrollWidth <= innerWidth, scrollHeight <= innerHeight];"""
    )
    assert fits == [True, width > 1000]
    beyond = browser.run(
        """const frame = document.getElementById("frame").getBoundingClientRect();
        return [...document.querySelectorAll("#feeder .mark")].filter((mark) => {
            const at = mark.getBoundingClientRect();
            return at.left < frame.left || at.right > frame.right
                || at.top < frame.top || at.bottom > frame.bottom;
        }).length"""
    )
    assert beyond == 0
    browser.click("[data-bus='16'] .mark")
    browser.type("#kw", "20000")
    browser.click("#generator button")
    browser.wait("document.getElementById('message').classList.contains('wrong')")
    seen = browser.run("return document.getElementById('message').getBoundingClientRect().top")
    assert 0 <= seen < height / 2
    browser.resize(*browser.size)


def slide(page, neighbourhood, *values):
    page.run(
        """const slider = document.getElementById(`hood-${arguments[0]}`);
        for (const value of arguments[1]) {
            slider.value = value;
            slider.dispatchEvent(new Event("input"));
            slider.dispatchEvent(new Event("change"));
        }""",
        neighbourhood,
        values,
    )


def test_a_slider_scales_its_neighbourhood(page, client):
    slide(page, 5, 0.8)
    said(page, "Neighbourhood 5 is at 80 % of its rated load.")
    slide(page, 5, 1.2)
    said(page, "Neighbourhood 5 is at 120 % of its rated load.")
    fifth = results(client, "/feeder/neighbourhoods")[4]
    assert fifth["factor"] == approx(1.2)
    assert page.text("#hood-5-kw") == "192 kW, 120 %"
    assert_shows(page, client)


def test_a_slider_that_is_moved_on_ends_where_it_was_left(page, client):
    """Several changes before the first is solved: the last one counts, from what is there then."""
    slide(page, 5, 0.95, 0.9, 0.85, 0.5)
    said(page, "Neighbourhood 5 is at 50 % of its rated load.")
    rest(page)
    assert results(client, "/feeder/neighbourhoods")[4]["factor"] == approx(0.5)
    assert page.run("return document.getElementById('hood-5').value") == "0.5"


def test_a_neighbourhood_at_nothing_comes_back_with_undo_only(page, client):
    slide(page, 5, 0)
    said(page, "Neighbourhood 5 is at 0 % of its rated load.")
    assert page.run("return document.getElementById('hood-5').disabled")
    page.click("#undo")
    said(page, "Taken back.")
    assert not page.run("return document.getElementById('hood-5').disabled")
    assert results(client)["power_summary"]["total_load_kW"] == approx(3490)


def test_the_log_is_beside_it_and_leads_back(page, client):
    slide(page, 5, 0.8)
    said(page, "Neighbourhood 5 is at 80 % of its rated load.")
    then = results(client)
    page.click("#reset")
    said(page, "The feeder is as it came; undo takes that back.")
    told = page.run(
        "return [...document.querySelectorAll('#log .told')].map((entry) => entry.textContent)"
    )
    assert told == ["reset", "modify load neighbourhood · 5 · × 0.8"]
    page.click("#log li:nth-child(2) button")
    page.wait("!document.getElementById('then').hidden")
    assert page.text("#then-text") == "As it was after 1."
    assert page.text("#source") == f"{then['power_summary']['source_power_kW']:.2f}"
    assert page.run("return document.getElementById('undo').disabled")
    page.click("#now")
    page.wait("document.getElementById('then').hidden")
    assert_shows(page, client)


def test_names_are_shown_as_they_are(page, client, browser, address):
    name = "<img src=x onerror=document.title='broken'>"
    fields = {"bus_name": "48", "device_name": name, "kw": 1}
    assert client.post("/feeder/add_device", json=fields).status_code == 200
    show(browser, f"{address}/feeder")
    assert name in page.text("#log")
    assert page.run("return document.title") == "IEEE 123-node feeder"


def test_the_page_asks_nobody_but_its_server(page, address):
    asked = page.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert asked
    assert all(url.startswith(f"{address}/feeder") for url in asked)


def test_the_policy_allows_the_page_and_nothing_else(client):
    answer = client.get("/feeder")
    assert answer.content_type == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert client.get("/feeder?colour=red").status_code == 400
