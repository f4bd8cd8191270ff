"""What every test run shares: the figures that tests report are printed at its end."""

from typing import Any

import pytest


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what passed tests recorded as `summary`: cells compared, kills survived."""
    lines = [
        str(value)
        for report in terminalreporter.stats.get("passed", [])
        for key, value in getattr(report, "user_properties", [])
        if key == "summary"
    ]
    if lines:
        terminalreporter.section("figures")
        for line in sorted(lines):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A site after `mainflow demo`: made once a worker."""
    from tests.demo_site import make_demo

    return make_demo(tmp_path_factory.mktemp("demo") / "site")
