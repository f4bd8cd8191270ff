"""A schedule that nobody can read is named at start, not by schedules that stand still."""

import pytest

from ingest_daemon.contract.settings import SettingError
from pipelines.settings import BackupSettings, BillingSettings, ReportSettings


@pytest.mark.parametrize("line", ["30 5 * * *", "*/15 * * * *", "0 7 1 * *", "0 7 * * 1-5", "0,30 6-22/2 * 1,7 0", "0 0 * * 7"])
def test_a_cron_line_is_taken(line: str) -> None:
    assert ReportSettings(cron=line).cron == line


@pytest.mark.parametrize(
    "line", ["", "daily", "30 5 * *", "60 5 * * *", "30 24 * * *", "30 5 0 * *", "30 5 * 13 *", "5-1 5 * * *", "*/0 5 * * *"]
)
def test_a_cron_line_is_refused_with_what_is_allowed(line: str) -> None:
    with pytest.raises(SettingError, match=r"\[billing\] sync_cron = .*for example 30 5 \* \* \*"):
        BillingSettings(sync_cron=line)
    with pytest.raises(SettingError, match=r"\[backup\] cron"):
        BackupSettings(cron=line)
