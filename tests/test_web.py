"""What every request and answer passes at the edge, and the routes that answer no study."""

from __future__ import annotations

import gzip
import logging
import re
import zlib
from pathlib import Path

import brotli
import orjson
import pytest
from flask import Flask
from werkzeug.exceptions import ServiceUnavailable

from app import create_app
from electrisim.problems import ERRORS, Problem, ProblemError
from electrisim.web import health
from electrisim.web.configuration import FRONTEND, Configuration, from_environment

EXAMPLE = (Path(__file__).resolve().parent.parent / "examples/powerflow.json").read_bytes()
ORIGIN = "https://app.electrisim.com"


def post(client, **options):
    return client.post("/", data=EXAMPLE, **options)


# Greeting and health


def test_the_greeting_says_what_to_send(client):
    answer = client.get("/")
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    assert answer.text == "Please send data to backend"


def test_the_process_is_alive_without_any_engine():
    app = Flask("bare")
    app.register_blueprint(health.blueprint(engines=()))
    assert app.test_client().get("/healthz").text == "ok"


def test_ready_means_that_every_engine_solves(app, client):
    answer = client.get("/readyz").get_json()
    assert answer["status"] == "ready"
    assert set(answer["engines"]) == {engine.name for engine in app.extensions["engines"]}
    assert all(answer["engines"].values())


def test_an_engine_that_fails_makes_the_server_unready_until_it_solves_again(app, monkeypatch):
    """The network that is asked for loses its source, then gets it back."""
    now_s = [0.0]
    fresh = Flask("fresh")
    fresh.register_error_handler(ProblemError, app.error_handler_spec[None][None][ProblemError])
    fresh.register_blueprint(health.blueprint(app.extensions["engines"], lambda: now_s[0]))
    client = fresh.test_client()
    assert client.get("/readyz").status_code == 200

    def fails():
        raise ProblemError([Problem(kind="not-converged", message="No.")])

    with monkeypatch.context() as patch:
        patch.setattr(health, "two_buses", fails)
        now_s[0] = health.LIFETIME_S
        assert client.get("/readyz").status_code == 200  # remembered
        now_s[0] += 1
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "does not solve" in answer.get_json(force=True)["error"]
    assert client.get("/readyz").status_code == 200


# Bodies


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/geo+json",
        "",
    ],
)
def test_json_is_read_whatever_its_content_type(client, content_type):
    assert post(client, content_type=content_type).status_code == 200


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"hello", "text/plain", 415),
        (b"<xml/>", "application/xml", 415),
        (b"", "application/octet-stream", 415),
        (b"hello", "application/json", 400),
        (b"", "application/json", 400),
        (b"", None, 400),
        (b"[]", "text/plain", 400),
        (b"[" * 100_000, "text/plain", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"a": "\xff"}', "application/json", 400),
    ],
)
def test_a_body_that_is_no_request_is_refused_before_any_study(client, body, content_type, status):
    answer = client.post("/", data=body, content_type=content_type)
    assert answer.status_code == status
    assert_problem(answer)


def test_a_compressed_body_is_refused(client):
    body = gzip.compress(EXAMPLE)
    answer = client.post("/", data=body, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415


def test_a_body_beyond_the_limit_is_refused():
    app = create_app({"MAX_CONTENT_LENGTH": str(len(EXAMPLE))})
    assert post(app.test_client()).status_code == 200
    answer = app.test_client().post("/", data=EXAMPLE + b" ")
    assert answer.status_code == 413
    assert str(len(EXAMPLE)) in assert_problem(answer)["error"]


# Errors of HTTP


def assert_problem(answer):
    """The members that every error has, and that its kind is a documented one."""
    problem = answer.get_json(force=True)
    assert answer.content_type == "application/problem+json"
    assert problem["status"] == answer.status_code
    assert problem["success"] is False
    assert problem["error"] == problem["detail"]
    assert problem["errors"]
    kind = problem["type"].removeprefix("/docs#")
    assert ERRORS[kind].status == answer.status_code
    assert ERRORS[kind].title == problem["title"]
    return problem


@pytest.mark.parametrize("path", ["/nowhere", "/docs/", "/static/x", "/../etc/passwd", "/%00"])
def test_an_unknown_address_is_404(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert_problem(answer)


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/"), ("DELETE", "/"), ("POST", "/docs"), ("POST", "/healthz")]
)
def test_a_method_that_an_address_lacks_is_405_and_told_which_it_has(client, method, path):
    answer = client.open(path, method=method)
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]
    assert_problem(answer)


@pytest.fixture
def failing():
    """An application with routes that fail."""
    app = create_app({})

    @app.get("/defect")
    def defect():
        raise KeyError("/secret/path")

    @app.get("/busy")
    def busy():
        raise ServiceUnavailable(retry_after=30)

    return app.test_client()


def test_a_defect_is_an_id_to_quote_and_its_traceback_is_in_the_log_alone(failing, caplog):
    answer = failing.get("/defect", headers={"X-Request-ID": "abc-1"})
    assert answer.status_code == 500
    problem = assert_problem(answer)
    assert problem["id"] == "abc-1"
    assert "abc-1" in problem["error"]
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    (record,) = [record for record in caplog.records if record.exc_info]
    assert "abc-1" in record.getMessage()
    assert record.exc_info[0] is KeyError


def test_an_error_of_http_keeps_its_own_retry_after(failing):
    answer = failing.get("/busy")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "30"


# Headers and the log


@pytest.mark.parametrize("path", ["/", "/docs", "/nowhere"])
def test_every_answer_is_safe_to_open_in_a_browser(client, path):
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_a_plain_request_id_is_kept_and_any_other_replaced(client):
    kept = client.get("/", headers={"X-Request-ID": "a1.b-2_c"}).headers["X-Request-ID"]
    assert kept == "a1.b-2_c"
    for odd in ("x" * 81, "a b", "ä", "<script>"):
        assert re.fullmatch(
            "[0-9a-f]{32}", client.get("/", headers={"X-Request-ID": odd}).headers["X-Request-ID"]
        )


def test_the_log_names_the_request_but_neither_body_nor_caller(caplog):
    client = create_app({}).test_client()
    post(client, headers={"X-Request-ID": "seven", "X-Forwarded-For": "203.0.113.9"})
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("POST / 200 in ")
    assert "[seven]" in line
    assert "Village" not in line
    assert "127.0.0.1" not in line
    assert "203.0.113.9" not in line


def test_a_path_cannot_write_lines_into_the_log(caplog):
    create_app({}).test_client().get("/a%0aGET%20/forged%20200")
    (line,) = [record.getMessage() for record in caplog.records]
    assert "\n" not in line


def test_health_checks_do_not_fill_the_log(caplog):
    client = create_app({}).test_client()
    client.get("/healthz")
    client.get("/readyz")
    assert not caplog.records
    create_app({"LOG_LEVEL": "debug"}).test_client().get("/healthz")
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


# Compression

DECODE = {
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "deflate": zlib.decompress,
}


@pytest.mark.parametrize("coding", DECODE)
def test_an_answer_is_compressed_for_those_who_accept_it(client, coding):
    plain = post(client)
    answer = post(client, headers={"Accept-Encoding": coding})
    assert answer.headers["Content-Encoding"] == coding
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert len(answer.data) < len(plain.data) / 2
    assert orjson.loads(DECODE[coding](answer.data)) == plain.get_json()


@pytest.mark.parametrize(
    "accepted", [None, "", "identity", "gzip;q=0", "gzip;q=0, br;q=0", "unheard-of"]
)
def test_an_answer_is_plain_for_those_who_do_not(client, accepted):
    headers = {"Accept-Encoding": accepted} if accepted is not None else {}
    answer = post(client, headers=headers)
    assert "Content-Encoding" not in answer.headers
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert answer.get_json()["success"]


def test_a_short_answer_is_not_worth_compressing(client):
    answer = client.get("/", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers


def test_a_stream_is_never_compressed():
    app = create_app({})

    @app.get("/stream")
    def stream():
        return (f'{{"line": {n}}}\n' * 100 for n in range(100)), {
            "Content-Type": "application/json"
        }

    answer = app.test_client().get("/stream", headers={"Accept-Encoding": "gzip, br, zstd"})
    assert "Content-Encoding" not in answer.headers


# Origins


def preflight(client, origin):
    return client.options(
        "/",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, authorization",
        },
    )


@pytest.mark.parametrize("origin", FRONTEND)
def test_the_frontend_may_post_from_each_of_its_pages(client, origin):
    asked = preflight(client, origin)
    assert asked.status_code == 200
    assert asked.headers["Access-Control-Allow-Origin"] == origin
    assert "POST" in asked.headers["Access-Control-Allow-Methods"]
    allowed = asked.headers["Access-Control-Allow-Headers"].lower()
    assert {"content-type", "authorization"} == set(allowed.split(", "))
    answer = post(client, headers={"Origin": origin})
    assert answer.headers.getlist("Access-Control-Allow-Origin") == [origin]
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://app.electrisim.com.evil.example",
        "https://appxelectrisim.com",
        "http://app.electrisim.com",
        "http://localhost:5503",
        "null",
    ],
)
def test_a_foreign_page_gets_its_answer_but_may_not_read_it(client, origin):
    for answer in (post(client, headers={"Origin": origin}), preflight(client, origin)):
        assert answer.status_code == 200
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


def test_errors_may_be_read_by_the_frontend_too(client):
    answer = client.post("/", data=b"{", headers={"Origin": ORIGIN})
    assert answer.status_code == 400
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]


def test_a_request_without_origin_is_told_nothing_about_origins(client):
    assert not [name for name, _ in client.get("/").headers if name.startswith("Access-Control")]


def test_configured_origins_replace_the_default_ones():
    app = create_app({"CORS_ORIGINS": "https://a.example, http://[::1]:5500"})
    client = app.test_client()
    for origin in ("https://a.example", "http://[::1]:5500"):
        answer = client.get("/", headers={"Origin": origin})
        assert answer.headers["Access-Control-Allow-Origin"] == origin
    answer = client.get("/", headers={"Origin": ORIGIN})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_all_origins_come_without_credentials():
    client = create_app({"CORS_ORIGINS": "*"}).test_client()
    answer = client.get("/", headers={"Origin": "https://any.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers


# Configuration


def test_empty_variables_count_as_absent():
    names = ("CORS_ORIGINS", "MAX_CONTENT_LENGTH", "TRUSTED_PROXIES", "LOG_LEVEL")
    assert from_environment(dict.fromkeys(names, "")) == Configuration()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CORS_ORIGINS", "app.example.com"),
        ("CORS_ORIGINS", "https://app.example.com/"),
        ("CORS_ORIGINS", "https://*.example.com"),
        ("MAX_CONTENT_LENGTH", "64M"),
        ("MAX_CONTENT_LENGTH", "-1"),
        ("TRUSTED_PROXIES", "one"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_variable_that_means_nothing_stops_the_start_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        create_app({name: value})


@pytest.mark.parametrize(("proxies", "scheme"), [("", "http"), ("1", "https")])
def test_only_trusted_proxies_tell_the_scheme(proxies, scheme):
    client = create_app({"TRUSTED_PROXIES": proxies}).test_client()
    page = client.get("/docs", headers={"X-Forwarded-Proto": "https", "Host": "api.example"}).text
    assert f"{scheme}://api.example/" in page


# Documentation


def test_the_documentation_needs_nothing_from_elsewhere(client):
    """No address that a browser would fetch, and a policy under which it could not."""
    answer = client.get("/docs")
    assert answer.mimetype == "text/html"
    assert not re.findall(r"<(?:script|link|img|iframe|object|embed)\b", answer.text)
    assert not re.findall(r"\b(?:src|action)\s*=|@import\b|\burl\(", answer.text)
    links = re.findall(r'href="([^"]*)"', answer.text)
    assert links
    assert all(link.startswith("#") or link == "openapi.json" for link in links)
    assert "script" not in answer.headers["Content-Security-Policy"]


def test_every_link_and_every_kind_of_error_has_its_place_on_the_page(client):
    page = client.get("/docs").text
    places = re.findall(r'id="([^"]*)"', page)
    assert len(places) == len(set(places))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(places)
    assert ERRORS.keys() <= set(places)


def test_the_style_is_the_one_that_the_policy_allows(client):
    """The hash is of what stands between the tags, as a browser computes it."""
    import base64
    import hashlib

    answer = client.get("/docs")
    style = re.search("<style>(.*?)</style>", answer.text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in answer.headers["Content-Security-Policy"]


def test_a_hostile_host_name_does_not_become_markup(client):
    page = client.get("/docs", headers={"Host": "<script>alert(1)</script>"})
    assert "<script>" not in page.text


@pytest.mark.parametrize("fixture", ["powerflow", "powerflow_opendss"])
def test_the_page_shows_each_example_as_a_command_to_paste(client, fixture):
    page = client.get("/docs").text
    assert f"<summary>{fixture}</summary>" in page
    assert "curl -H &#39;Content-Type" in page or "curl -H 'Content-Type" in page
