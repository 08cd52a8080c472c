"""What a machine is told about this project agrees, and the deployment files do what they say."""

import gc
import http.client
import importlib.metadata
import importlib.util
import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = [*sorted((ROOT / "script").iterdir()), ROOT / ".ci/run"]
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


def text(name: str) -> str:
    return (ROOT / name).read_text()


def requirements(name: str) -> list[Requirement]:
    lines = (line.partition(" #")[0].strip() for line in text(name).splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-r "))]


PINS = [*requirements("requirements.txt"), *requirements("requirements-dev.txt")]


# The facts that are written in more than one file


@pytest.mark.parametrize("pin", PINS, ids=str)
def test_every_requirement_is_one_exact_version_and_installed(pin):
    (only,) = pin.specifier
    assert only.operator == "=="
    assert "*" not in only.version
    if pin.marker is None or pin.marker.evaluate():
        assert importlib.metadata.version(pin.name) == only.version


def test_numba_is_not_installed():
    """With it pandapower compiles, and a worker's first power flow takes 2 s instead of 0.15 s."""
    assert importlib.util.find_spec("numba") is None


def test_one_python_version_everywhere():
    version = text(".python-version").strip()
    tools = tomllib.loads(text("pyproject.toml"))
    assert text("runtime.txt").strip() == f"python-{version}"
    assert tools["project"]["requires-python"] == f">={version}"
    assert tools["tool"]["mypy"]["python_version"] == version


def test_every_platform_starts_the_same_command():
    command = "gunicorn app:app"
    assert text("Procfile") == f"web: {command}\n"
    assert f"startCommand: {command}\n" in text("render.yaml")
    assert f"/bin/{command}\n" in text("deploy/electrisim-backend.service")
    assert json.loads(text("app.json"))["buildpacks"] == [{"url": "heroku/python"}]


def test_every_variable_of_the_server_is_documented():
    documented = set(re.findall(r"^\| `(\w+)` \|", text("docs/deployment.md"), re.M))
    read = set(re.findall(r'_setting\("(\w+)"', text("gunicorn.conf.py")))
    in_files = {key for key in json.loads(text("app.json"))["env"]}
    assert read
    assert read | in_files <= documented


def test_the_reverse_proxy_asks_where_the_service_listens():
    host, port = re.search(
        r"^Environment=HOST=(\S+) PORT=(\d+)$", text("deploy/electrisim-backend.service"), re.M
    ).groups()
    assert f"proxy_pass http://{host}:{port};" in text("deploy/nginx.conf")


# Scripts


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_executable_and_parses(script):
    shell = Path(script.read_text().splitlines()[0].split()[-1].removeprefix("#!")).name
    assert os.access(script, os.X_OK)
    subprocess.run([shell, "-n", script], check=True)


def test_setup_without_a_python_says_what_to_install(tmp_path):
    checkout = tmp_path / "a checkout"
    shutil.copytree(ROOT / "script", checkout / "script")
    run = subprocess.run(
        [checkout / "script/setup"],
        env={**os.environ, "PYTHON": "/nowhere/python"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "Python 3.11 or newer" in run.stderr
    assert "/nowhere/python" in run.stderr
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("workers", [0, 1], ids=["one process", "a worker"])
@pytest.mark.parametrize("level", ["module", "test"])
@pytest.mark.parametrize(
    ("reason", "shared_exists", "passes"),
    [
        ("no such program", False, False),
        ("needs ../shared", False, True),
        ("needs ../shared", True, False),
    ],
)
def test_a_skip_fails_the_run_where_none_is_allowed(
    tmp_path, reason, shared_exists, passes, level, workers
):
    tests = tmp_path / "checkout/tests"
    tests.mkdir(parents=True)
    shutil.copy(ROOT / "tests/no_skips.py", tests)
    skip = f"pytest.skip({reason!r}, allow_module_level=True)"
    one = f"def test_one():\n    {skip}\n" if level == "test" else f"{skip}\n"
    (tests / "test_one.py").write_text(f"import pytest\n\n{one}")
    (tests / "test_two.py").write_text("def test_two():\n    pass\n")
    if shared_exists:
        (tmp_path / "shared").mkdir()
    options = ["-q", "-p", "xdist.plugin", "-p", "tests.no_skips", "--rootdir", "."]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-n", str(workers)],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tests.parent,
        capture_output=True,
        text=True,
    )
    assert (run.returncode == 0) is passes
    assert (reason in run.stdout) is not passes


# gunicorn


@pytest.mark.parametrize(
    ("variables", "bind"),
    [
        ({}, "127.0.0.1:5000"),
        ({"PORT": "8080"}, "0.0.0.0:8080"),
        ({"PORT": "", "HOST": ""}, "127.0.0.1:5000"),
        ({"PORT": "8080", "HOST": "127.0.0.1"}, "127.0.0.1:8080"),
        ({"HOST": "::"}, "[::]:5000"),
    ],
    ids=str,
)
def test_only_a_platform_opens_the_server_to_others(variables, bind, monkeypatch):
    for name in ("HOST", "PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(gc, "disable", lambda: None)
    assert runpy.run_path(str(ROOT / "gunicorn.conf.py"))["bind"] == bind


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(port: int, path: str, method: str = "GET", length: int = 0) -> Answer:
    """An answer; `length` only announces a body, it sends none."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.putrequest(method, path)
        connection.putheader("Accept-Encoding", "gzip")
        connection.putheader("Content-Length", str(length))
        connection.endheaders()
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def running(command: list[str], port: int, **variables: str) -> Iterator[None]:
    """A server of the test's own, from when its port answers until the block ends."""
    process = subprocess.Popen(
        command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                pytest.fail(f"It ended by itself: {process.stderr.read().decode()}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture
def backend(tmp_path) -> Iterator[int]:
    """Port of gunicorn with our settings and one worker, which /die kills while it answers."""
    (tmp_path / "stub.py").write_text(
        "import os, signal\n"
        "def app(environ, start_response):\n"
        "    path = environ['PATH_INFO']\n"
        "    if path == '/die':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    status = '504 Gateway Timeout' if path == '/deadline' else '200 OK'\n"
        "    start_response(status, [('Content-Type', 'text/plain')])\n"
        "    return [b'the application ' * 1000]\n"
    )
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py")]
    command += ["--chdir", str(tmp_path), "stub:app"]
    with running(command, port, HOST="127.0.0.1", PORT=str(port), WEB_CONCURRENCY="1"):
        yield port


def test_a_worker_that_dies_is_replaced(backend):
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        ask(backend, "/die")
    assert ask(backend, "/").status == 200


# nginx


def nginx_command(folder: Path, port: int, upstream: int) -> list[str]:
    """Command that serves deploy/nginx.conf on a loopback port, with all its files in `folder`."""
    site = text("deploy/nginx.conf").replace("listen [::]:80;", "")
    site = site.replace("listen 80;", f"listen 127.0.0.1:{port};")
    site = site.replace("127.0.0.1:5000", f"127.0.0.1:{upstream}")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"    {kind}_temp_path {kind};\n" for kind in kinds)
    configuration = folder / "nginx.conf"
    configuration.write_text(
        "daemon off;\nmaster_process off;\npid nginx.pid;\n"
        f"events {{}}\nhttp {{\n    access_log off;\n    gzip on;\n{temporary}{site}\n}}\n"
    )
    return [NGINX, "-p", str(folder), "-e", "stderr", "-c", str(configuration)]


@pytest.fixture
def proxy_of(tmp_path):
    """Starts nginx in front of a port and returns its own; it ends with the test."""
    with ExitStack() as stack:

        def start(upstream: int) -> int:
            port = free_port()
            stack.enter_context(running(nginx_command(tmp_path, port, upstream), port))
            return port

        yield start


@needs_nginx
def test_nginx_accepts_the_site(tmp_path):
    command = nginx_command(tmp_path, free_port(), free_port())
    check = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr


@needs_nginx
def test_nginx_explains_a_backend_that_is_down(proxy_of):
    assert_unavailable(ask(proxy_of(free_port()), "/", method="POST"))


@needs_nginx
def test_nginx_explains_a_worker_that_dies_while_it_answers(proxy_of, backend):
    proxy = proxy_of(backend)
    assert_unavailable(ask(proxy, "/die", method="POST"))
    assert ask(proxy, "/").status == 200


@needs_nginx
def test_nginx_refuses_a_body_beyond_the_limit_in_json(proxy_of):
    answer = ask(proxy_of(free_port()), "/", method="POST", length=2**26 + 1)
    assert answer.status == 413
    assert_problem(answer)


@needs_nginx
@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/deadline", 504)])
def test_nginx_passes_what_the_application_says_as_it_is(proxy_of, backend, path, status):
    answer = ask(proxy_of(backend), path)
    assert answer.status == status
    assert answer.body == b"the application " * 1000
    assert "Content-Encoding" not in answer.headers
    assert "Access-Control-Allow-Origin" not in answer.headers


def assert_unavailable(answer: Answer) -> None:
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert_problem(answer)


def assert_problem(answer: Answer) -> None:
    """The members of the application's own errors, readable by any page."""
    problem = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert problem["status"] == answer.status
    assert problem["success"] is False
    assert problem["errors"] == []
    assert {"type", "title", "detail", "error"} < problem.keys()
