"""The part of `[daemon]` in `site.toml` that forwarding needs."""

from dataclasses import dataclass

from ingest_daemon.contract.settings import setting


@dataclass(frozen=True, slots=True)
class TimeSettings:
    """Limits for device times and for what is kept aside, in the section `[daemon]`."""

    future_s: float = setting(300.0, "a device time further ahead than this is kept aside", "允许的超前秒数", minimum=0)
    quarantine_mb: int = setting(
        256,
        "disk budget of quarantine/; beyond it the oldest lines are dropped",
        "quarantine/ 磁盘预算 MB，超出则弃旧",
        minimum=1,
    )
    past_days: float = setting(
        800.0, "a device time further back than this is kept aside", "允许的滞后天数；更早的另存", minimum=1
    )
    drift_s: float = setting(120.0, "a device clock further off than this raises CLOCK", "时钟偏差报警秒数", minimum=1)
