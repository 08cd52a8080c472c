"""pytest plugin: a skipped test fails the run, `pytest -p tests.no_skips`.

Where everything that the tests need is installed, a skip hides a hole. One kind is excused: a test
that reads ../shared, material beside the checkout that a clone does not have. Expected failures
are no skips.
"""

from pathlib import Path
from typing import Any

import pytest

SHARED = "../shared"


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Reason of a skip, of which pytest keeps (path, line, message)."""
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


class NoSkips:
    def __init__(self, root: Path) -> None:
        self.shared_is_absent = not (root / SHARED).exists()
        self.skips: dict[str, None] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.note(report)

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = reason_of(report)
        if not (self.shared_is_absent and SHARED in reason):
            self.skips[f"{report.nodeid}: {reason}"] = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of pytest-xdist ended; what it skipped while collecting only it has seen."""
        self.skips.update(dict.fromkeys(getattr(node, "workeroutput", {}).get("skips", ())))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["skips"] = list(self.skips)
        if self.skips and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.skips:
            terminalreporter.section("skipped, and no test may be skipped here", red=True)
            for skip in self.skips:
                terminalreporter.line(skip)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(NoSkips(config.rootpath), "no-skips")
