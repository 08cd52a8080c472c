"""pytest plugin: a skipped test fails the run, `pytest -p tests.no_skips`.

Where everything that the tests need is installed, a skip hides a hole. One kind is excused: a test
that reads ../shared, material beside the checkout that a clone does not have. Expected failures
are no skips.
"""

from pathlib import Path

import pytest

SHARED = "../shared"


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Reason of a skip, of which pytest keeps (path, line, message)."""
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


class NoSkips:
    def __init__(self, root: Path) -> None:
        self.shared_is_absent = not (root / SHARED).exists()
        self.skips: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.note(report)

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = reason_of(report)
        if not (self.shared_is_absent and SHARED in reason):
            self.skips.append(f"{report.nodeid}: {reason}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.skips and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.skips:
            terminalreporter.section("skipped, and no test may be skipped here", red=True)
            for skip in self.skips:
                terminalreporter.line(skip)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(NoSkips(config.rootpath), "no-skips")
