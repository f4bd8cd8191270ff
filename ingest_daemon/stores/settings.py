"""The section `[store]`: the raw store of readings."""

from dataclasses import dataclass

from ingest_daemon.contract.settings import section, setting


@section("store")
@dataclass(frozen=True, slots=True)
class StoreSettings:
    """`[store]`: the raw store of readings."""

    kind: str = setting("parquet", "raw store", "原始数据存储", choices=("parquet", "influxdb"))
    influx_url: str = setting("http://127.0.0.1:8086", "InfluxDB address (1.x, 2.x or 3.x)", "InfluxDB 地址")
    influx_database: str = setting("mainflow", "InfluxDB database or bucket", "InfluxDB 库名")
    influx_auth: str = setting("none", "how to log in", "认证方式", choices=("none", "basic", "token"))
    influx_user: str = setting("", "user for basic", "用户名")
    influx_password: str = setting("", "password for basic, token for token", "口令或令牌", secret=True)
