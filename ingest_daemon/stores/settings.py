"""The section `[store]`: the raw store of readings."""

import re
from dataclasses import dataclass

from ingest_daemon.contract.settings import SettingError, section, setting

SHARE = re.compile("[a-z0-9][a-z0-9._-]{0,62}")
"""A daemon's name: it stands in paths, and in the positions of readings."""


@section("store")
@dataclass(frozen=True, slots=True)
class StoreSettings:
    """`[store]`: the raw store of readings. Raises `SettingError` where `share` is no name."""

    kind: str = setting("parquet", "raw store", "原始数据存储", choices=("parquet", "influxdb"))
    influx_url: str = setting("http://127.0.0.1:8086", "InfluxDB address (1.x, 2.x or 3.x)", "InfluxDB 地址")
    influx_database: str = setting("mainflow", "InfluxDB database or bucket", "InfluxDB 库名")
    influx_auth: str = setting("none", "how to log in", "认证方式", choices=("none", "basic", "token"))
    influx_user: str = setting("", "user for basic", "用户名")
    influx_password: str = setting("", "password for basic, token for token", "口令或令牌", secret=True)
    share: str = setting(
        "",
        "name of this daemon among several that share the raw store, like north; empty: it is the only one",
        "本采集进程在共用原始库的多个进程中的名称，如 north；空为唯一",
    )

    def __post_init__(self) -> None:
        if self.share and not SHARE.fullmatch(self.share):
            raise SettingError(
                f"[store] share = {self.share!r}: expected a name of this daemon's own, of a-z, 0-9, . _ -, like north"
            )
