"""Both builds of OpenDSS behind one protocol: right, isolated, bounded, and never an orphan."""

from __future__ import annotations

import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pytest import approx

from electrisim.problems import ProblemError
from opendss_bindings import Bindings, EngineError

BOTH = pytest.mark.parametrize("binding", ["opendssdirect", "py_dss_interface"])
ROOT = Path(__file__).parent.parent

# b0 (20 kV grid) ── 5 km ── b1 ── T 20/0.4 kV ── b2 (two loads, capacitor; a line out of service)
CIRCUIT = [
    "new circuit.c bus1=b0 basekv=20 pu=1.02 phases=3 mvasc3=1000 mvasc1=900",
    "new line.l1 bus1=b0 bus2=b1 phases=3 r1=0.2 x1=0.3 r0=0.4 x0=0.9 c1=10 c0=5 length=5 units=km",
    "new transformer.t1 phases=3 windings=2 buses=[b1 b2] conns=[delta wye] kvs=[20 0.4] "
    "kvas=[630 630] xhl=4 %rs=[0.5 0.5] taps=[1.025 1]",
    "new load.d1 bus1=b2 phases=3 kv=0.4 kw=300 kvar=90 model=1 vminpu=0.5 vmaxpu=1.5",
    "new load.d2 bus1=b2.2 phases=1 kv=0.23 kw=20 kvar=5 model=1 vminpu=0.5 vmaxpu=1.5",
    "new capacitor.c1 bus1=b2 phases=3 kv=0.4 kvar=50",
    "new line.l2 bus1=b0 bus2=b1 phases=3 r1=1 x1=1 enabled=no",
    "set tolerance=1e-12 maxiterations=100",
]
ELEMENTS = ["vsource.source", "line.l1", "transformer.t1", "load.d1", "load.d2", "capacitor.c1"]
# 10 kV grid ── X = 1 Ω ── 10 kV source g1, both stiff, nothing resistive
TWO_SOURCES = [
    "new circuit.c bus1=a basekv=10 phases=3 r1=0 x1=1e-6 r0=0 x0=1e-6",
    "new vsource.g1 bus1=b basekv=10 phases=3 r1=0 x1=1e-6 r0=0 x0=1e-6",
    "new reactor.x bus1=a bus2=b phases=3 r=0 x=1",
]


@pytest.fixture(scope="module")
def bindings() -> Bindings:
    return Bindings(contexts=2, deadline=30)


def alive(pid: int) -> bool:
    """Whether a process runs: one that has ended but was not yet waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def wait_until_gone(pid: int, seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(pid)


def solved_circuit(bindings: Bindings, binding: str, load_kw: float = 300):
    with bindings.session(binding) as session:
        session.run([*CIRCUIT, f"edit load.d1 kw={load_kw}"])
        assert session.solve().converged
        return session.node_names(), session.voltages(), session.powers(ELEMENTS)


# What is right


@BOTH
def test_a_load_takes_what_it_was_told_and_the_line_loses_r_times_i_squared(bindings, binding):
    with bindings.session(binding) as session:
        session.run(CIRCUIT)
        assert session.solve().converged
        load, single, line = session.powers(["load.d1", "load.d2", "line.l1"])
        (current,) = session.currents(["line.l1"])
        voltages = dict(zip(session.node_names(), session.voltages(), strict=True))
    # Three phases and the neutral; conductors without power stand in their places.
    assert load == approx(np.array([100 + 30j] * 3 + [0]), rel=1e-9)
    assert single == approx(np.array([20 + 5j, 0]), rel=1e-9)
    # The current through the impedance is that at the terminal less the line's own charging.
    charging = 2j * math.pi * 50 * 50e-9 / 2 * np.array([voltages[f"b0.{n}"] for n in (1, 2, 3)])
    # The phases are coupled through earth; symmetrical components uncouple them.
    a = np.exp(2j * np.pi / 3)
    to_sequences = np.array([[1, 1, 1], [1, a, a**2], [1, a**2, a]]) / 3
    i0, i1, i2 = np.abs(to_sequences @ (current[:3] - charging))
    lost_kw = 3 * (2.0 * i0**2 + 1.0 * i1**2 + 1.0 * i2**2) / 1000
    # 5 km of zero-sequence capacitance differ from charging at b0 by 1e-4 of the loss.
    assert line.real.sum() == approx(lost_kw, rel=1e-3)


@BOTH
def test_turning_a_source_moves_v_squared_over_x_times_the_sine(bindings, binding):
    """P = V1 V2 sin δ / X and Q = (V1² - V1 V2 cos δ) / X, textbook."""
    with bindings.session(binding) as session:
        session.run(TWO_SOURCES)
        for degrees, per_unit in ((-10.0, 1.0), (5.0, 1.0), (5.0, 0.97)):
            session.set_angles(["g1"], [degrees])
            session.set_magnitudes(["g1"], [per_unit])
            assert session.solve().converged
            (power,) = session.powers(["reactor.x"])
            delta = math.radians(-degrees)
            p_kw = 1e5 * per_unit * math.sin(delta)
            q_kvar = 1e5 * (1 - per_unit * math.cos(delta))
            # The sources' own 2e-6 Ω against 1 Ω.
            assert power[:3].sum() == approx(p_kw + 1j * q_kvar, rel=5e-6)


@BOTH
def test_a_source_turned_directly_is_a_source_turned_by_command(bindings, binding):
    with bindings.session(binding) as session:
        session.run([*TWO_SOURCES, "edit vsource.g1 angle=7 pu=1.01"])
        session.solve()
        commanded = session.voltages()
        session.clear()
        session.run(TWO_SOURCES)
        session.solve()
        session.set_angles(["g1"], [7])
        session.set_magnitudes(["g1"], [1.01])
        session.solve()
        assert session.voltages() == approx(commanded, rel=1e-12)


def test_both_builds_solve_alike(bindings):
    """Two independent compilations of two code bases, both converged to 1e-12."""
    names, voltages, powers = solved_circuit(bindings, "opendssdirect")
    other_names, other_voltages, other_powers = solved_circuit(bindings, "py_dss_interface")
    assert names == other_names
    assert names[:4] == ["b0.1", "b0.2", "b0.3", "b1.1"]
    assert np.abs(voltages - other_voltages).max() <= 1e-9 * np.abs(voltages).min()
    assert [len(power) for power in powers] == [len(power) for power in other_powers]
    largest = max(np.abs(power).max() for power in powers)
    for power, other in zip(powers, other_powers, strict=True):
        assert np.abs(power - other).max() <= 1e-9 * largest


@BOTH
def test_flows_come_in_the_order_asked_for(bindings, binding):
    with bindings.session(binding) as session:
        session.run(CIRCUIT)
        session.solve()
        straight = session.powers(ELEMENTS)
        backward = session.powers(ELEMENTS[::-1])
        assert all(map(np.array_equal, straight, backward[::-1]))
        (alone,) = session.powers(["load.d2"])
        assert np.array_equal(alone, straight[ELEMENTS.index("load.d2")])
        assert session.powers([]) == []


@BOTH
def test_an_element_out_of_service_keeps_its_place_with_zeros(bindings, binding):
    with bindings.session(binding) as session:
        session.run(CIRCUIT)
        session.solve()
        dead, load = session.powers(["line.l2", "load.d1"])
    assert np.array_equal(dead, np.zeros(6))
    assert load[:3] == approx(np.array([100 + 30j] * 3), rel=1e-9)


@BOTH
def test_an_element_changed_after_it_was_read_is_read_again(bindings, binding):
    with bindings.session(binding) as session:
        session.run(CIRCUIT)
        session.solve()
        session.powers(ELEMENTS)
        session.run(["edit load.d1 kw=150 kvar=0", "edit line.l2 enabled=yes"])
        session.solve()
        load, revived = session.powers(["load.d1", "line.l2"])
    assert load[:3] == approx(np.full(3, 50 + 0j), rel=1e-9)
    assert np.abs(revived).min() > 1


@BOTH
def test_other_powers_and_taps_are_read_as_if_built_so(bindings, binding):
    """After such commands the C-API's elements are read from where they were before."""
    edits = ["edit load.d1 kw=150 kvar=0", "edit transformer.t1 wdg=1 tap=0.975"]
    with bindings.session(binding) as session:
        session.run([*CIRCUIT, *edits])
        session.solve()
        built = session.powers(ELEMENTS)
    with bindings.session(binding) as session:
        session.run(CIRCUIT)
        session.solve()
        before = session.powers(ELEMENTS)
        session.run(edits)
        session.solve()
        edited = session.powers(ELEMENTS)
    for one, other, then in zip(built, edited, before, strict=True):
        assert other == approx(one, rel=1e-6, abs=1e-6)
        assert not np.array_equal(other, then)


@BOTH
def test_what_does_not_converge_is_told(bindings, binding):
    with bindings.session(binding) as session:
        session.run([*CIRCUIT, "set maxiterations=1"])
        assert session.solve() == (False, 1)


@BOTH
def test_controls_without_rest_have_not_converged(bindings, binding):
    """A regulator with a band narrower than a tap, and two rounds in which to find it."""
    regulator = "new regcontrol.r transformer=t1 winding=2 vreg=100 ptratio=2 band=0.1 delay=1"
    with bindings.session(binding) as session:
        session.run([*CIRCUIT, regulator, "set maxcontroliter=2"])
        assert not session.solve().converged


# What is refused


@BOTH
@pytest.mark.parametrize(
    "command",
    [
        "new load.d9 bus1=b2\nredirect x",
        "new load.d9 bus1=b2\r",
        "new load.d9 bus1=b2 // all mine",
        'new load.d9 bus1="b2"',
        "new loadshape.s mult=(file=/etc/passwd)",
        "new load.näme bus1=b2",
        "edit load.d1 kw=@variable",
        "redirect x",
        "compile x",
        "export voltages x",
        "show voltages",
        "shell ls",
        "clearall",
        "",
    ],
)
def test_only_commands_of_our_own_alphabet_and_verbs_pass(bindings, binding, command):
    with bindings.session(binding) as session, pytest.raises(ValueError, match="not a command"):
        session.run([*CIRCUIT, command])


@BOTH
def test_a_refused_command_is_named_and_leaves_the_session_empty(bindings, binding, caplog):
    with bindings.session(binding) as session:
        with pytest.raises(EngineError) as caught:
            session.run([*CIRCUIT, "new line.l3 nonsense=3", "new line.l4 bus1=b0 bus2=b1"])
        assert caught.value.command == "new line.l3 nonsense=3"
        assert caught.value.number > 0
        assert "nonsense" in caplog.text
        session.run(CIRCUIT)
        assert session.solve().converged
        for leftover in ("line.l3", "line.l4"):
            with pytest.raises(EngineError) as caught:
                session.powers([leftover])
            assert caught.value.number == -1


@BOTH
def test_an_unknown_source_is_refused(bindings, binding):
    with bindings.session(binding) as session:
        session.run(TWO_SOURCES)
        session.solve()
        with pytest.raises(EngineError):
            session.set_angles(["g2"], [1])


# What does not leak from request to request


@BOTH
def test_the_next_request_finds_nothing_of_the_last_even_after_an_error(binding):
    """The reactance is said to be one at 50 Hz, and would count 1.2 times in a 60 Hz circuit."""

    def solved() -> tuple[list[str], bytes, bytes]:
        with bindings.session(binding) as session:
            session.run([*TWO_SOURCES, "edit vsource.g1 angle=5", "edit reactor.x basefreq=50"])
            assert session.solve().converged
            (power,) = session.powers(["reactor.x"])
            # P = V² sin δ / X; the sources' own 2e-6 Ω are neglected.
            assert -power[:3].sum().real == approx(1e5 * math.sin(math.radians(5)), rel=5e-6)
            return session.node_names(), session.voltages().tobytes(), power.tobytes()

    bindings = Bindings(contexts=1)
    fresh = solved()
    with pytest.raises(ZeroDivisionError), bindings.session(binding) as session:
        session.run(["set defaultbasefrequency=60", *TWO_SOURCES])
        session.solve()
        session.powers(["reactor.x"])
        raise ZeroDivisionError
    with bindings.session(binding) as session, pytest.raises(EngineError):
        session.powers(["reactor.x"])
    assert solved() == fresh


@pytest.mark.parametrize(("binding", "rounds"), [("opendssdirect", 200), ("py_dss_interface", 25)])
def test_four_threads_get_bit_for_bit_what_one_gets(bindings, binding, rounds):
    loads = [50.0 + 3 * n for n in range(rounds)]
    serial = [solved_circuit(bindings, binding, load) for load in loads]

    def solve_all(start: int) -> bool:
        order = [*range(start, rounds), *range(start)]
        return all(
            np.array_equal(serial[n][1], voltages)
            and all(map(np.array_equal, serial[n][2], powers))
            for n in order
            for _, voltages, powers in [solved_circuit(bindings, binding, loads[n])]
        )

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(solve_all, [0, rounds // 4, rounds // 2, 3 * rounds // 4]))


def test_three_hundred_requests_from_short_lived_threads_take_no_memory(bindings):
    """A context per request would cost 480 MB."""

    def one_request() -> None:
        solved_circuit(bindings, "opendssdirect")

    def many(count: int) -> None:
        for _ in range(count):
            thread = threading.Thread(target=one_request)
            thread.start()
            thread.join()

    many(20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    many(300)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


# What is bounded


@BOTH
def test_a_request_without_a_free_engine_is_told_to_come_back(binding):
    bindings = Bindings(contexts=1, patience=0.1)
    with bindings.session(binding):
        with pytest.raises(ProblemError) as caught, bindings.session(binding):
            pass
        assert (caught.value.status, caught.value.kind) == (503, "overloaded")
        assert caught.value.extra["retry_after"] > 0
    solved_circuit(bindings, binding)


def test_a_waiting_request_gets_the_engine_that_another_gives_back():
    bindings = Bindings(contexts=1, patience=30)
    with ThreadPoolExecutor(1) as threads:
        with bindings.session("opendssdirect") as first:
            waiting = threads.submit(solved_circuit, bindings, "opendssdirect")
            first.run(CIRCUIT)
            assert first.solve().converged
        assert waiting.result(timeout=30)[0]


def test_the_environment_says_how_many_contexts_there_are(monkeypatch):
    monkeypatch.setenv("OPENDSS_CONTEXTS", "1")
    bindings = Bindings(patience=0.05)
    with bindings.session("opendssdirect"), pytest.raises(ProblemError):
        bindings.session("opendssdirect").__enter__()
    monkeypatch.setenv("OPENDSS_CONTEXTS", "many")
    with pytest.raises(ValueError, match="OPENDSS_CONTEXTS"):
        Bindings()


ENVIRONMENT = """
import os, sys, threading
sys.path.insert(0, {root!r})
os.environ["BEFORE"] = "1"
from opendss_bindings import Bindings
for number in range(3000):
    os.environ[f"AFTER{{number}}"] = "x" * 20
rubbish = [bytes([255]) * size for size in range(8, 4000, 8) for _ in range(20)]
bindings = Bindings(contexts=1)
def solve():
    with bindings.session("opendssdirect") as session:
        session.run({circuit!r})
        assert session.solve().converged
for _ in range(3):
    thread = threading.Thread(target=solve)
    thread.start()
    thread.join()
"""


def test_the_environment_may_change_under_the_threads_of_a_server():
    """The engine reads its environment in every new thread, where the C library has moved it."""
    script = ENVIRONMENT.format(root=str(ROOT), circuit=CIRCUIT)
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# The child process of EPRI's build


@pytest.mark.parametrize("many", [1, 20_000], ids=["one command", "more than the socket holds"])
def test_an_engine_that_hangs_is_killed_and_replaced(many):
    bindings = Bindings(deadline=2)
    with pytest.raises(ProblemError) as caught, bindings.session("py_dss_interface") as session:
        hanging = session.process.pid
        os.kill(hanging, signal.SIGSTOP)
        session.run(["set maxiterations=100 " + "x" * 50] * many)
    assert (caught.value.status, caught.value.kind) == (504, "deadline")
    assert not alive(hanging)
    assert solved_circuit(bindings, "py_dss_interface")[0]


def test_an_engine_that_crashes_is_told_of_and_replaced():
    bindings = Bindings()
    with pytest.raises(ProblemError) as caught, bindings.session("py_dss_interface") as session:
        session.run(CIRCUIT)
        os.kill(session.process.pid, signal.SIGKILL)
        session.solve()
    assert (caught.value.status, caught.value.kind) == (503, "engine-died")
    assert solved_circuit(bindings, "py_dss_interface")[0]


def test_an_engine_in_a_process_is_replaced_before_it_has_grown(monkeypatch):
    monkeypatch.setattr("opendss_bindings.CHILD_USES", 2)
    bindings = Bindings()
    processes = []
    for _ in range(4):
        with bindings.session("py_dss_interface") as session:
            session.run(CIRCUIT)
            assert session.solve().converged
            processes.append(session.process.pid)
        del session
    assert processes[0] == processes[1] != processes[2] == processes[3]
    assert wait_until_gone(processes[0])


def test_an_engine_that_died_between_requests_is_replaced_in_silence():
    bindings = Bindings()
    with bindings.session("py_dss_interface") as session:
        pid = session.process.pid
    os.kill(pid, signal.SIGKILL)
    assert wait_until_gone(pid)
    assert solved_circuit(bindings, "py_dss_interface")[0]


def test_neither_build_writes_to_our_streams(capfd):
    bindings = Bindings(contexts=1)
    for binding in ("opendssdirect", "py_dss_interface"):
        solved_circuit(bindings, binding)
        with bindings.session(binding) as session, pytest.raises(EngineError):
            session.run(["new nonsense.x"])
    assert capfd.readouterr() == ("", "")


def test_the_child_has_no_environment_no_directory_no_streams_and_no_files_to_write(tmp_path):
    bindings = Bindings()
    before = Path.cwd()
    with bindings.session("py_dss_interface") as session:
        process = Path(f"/proc/{session.process.pid}")
        assert b"PATH=" not in process.joinpath("environ").read_bytes().replace(b"_PATH=", b"")
        assert str(process.joinpath("cwd").readlink()).endswith("(deleted)")
        for stream in "012":
            assert process.joinpath("fd", stream).readlink() == Path(os.devnull)
        session.run(CIRCUIT)
        session.solve()
        # Past our own check of the words, straight to the engine.
        session._ask("run", [f"export voltages {tmp_path / 'voltages.csv'}"])
        assert session.voltages().any()
    written = tmp_path / "voltages.csv"
    assert not written.exists() or written.stat().st_size == 0
    assert Path.cwd() == before


SERVER = """
import os, sys, time
sys.path.insert(0, {root!r})
from opendss_bindings import Bindings
circuit = {circuit!r}
bindings = Bindings()
with bindings.session("py_dss_interface") as session:
    session.run(circuit)
    session.solve()
    print(session.process.pid, flush=True)
    {inside}
{after}
"""


def server(inside: str = "pass", after: str = "") -> tuple[subprocess.Popen[str], int]:
    """Another process that has used an engine, and the engine's process."""
    script = SERVER.format(root=str(ROOT), circuit=CIRCUIT, inside=inside, after=after)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.mark.parametrize(
    "inside",
    ["time.sleep(600)", 'session.run(["set mode=yearly number=100000000"]); session.solve()'],
    ids=["idle", "busy"],
)
def test_no_engine_survives_a_server_that_is_killed(inside):
    process, engine = server(inside)
    time.sleep(0.5)
    assert alive(engine)
    process.kill()
    process.communicate()
    assert wait_until_gone(engine)


def test_no_engine_survives_a_server_that_ends():
    process, engine = server()
    process.communicate()
    assert process.returncode == 0
    assert wait_until_gone(engine)


FORK = """
forked = os.fork()
for binding in ("py_dss_interface", "opendssdirect"):
    with bindings.session(binding) as session:
        session.run(circuit)
        assert session.solve().converged
        if binding == "py_dss_interface":
            print(session.process.pid, flush=True)
if forked:
    assert os.waitpid(forked, 0)[1] == 0
"""


def test_a_forked_worker_has_engines_of_its_own():
    """As under gunicorn when something was solved before the fork."""
    process, engine = server(after=FORK)
    output, _ = process.communicate(timeout=60)
    used = [int(pid) for pid in output.split()]
    assert process.returncode == 0
    assert len(used) == 2
    assert used.count(engine) == 1
    assert all(wait_until_gone(pid) for pid in used)
