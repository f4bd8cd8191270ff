"""The section `[store]`: the raw store of readings."""

import re
from dataclasses import dataclass

from ingest_daemon.contract.settings import SettingError, section, setting

S3 = "s3://"
SHARE = re.compile("[a-z0-9][a-z0-9._-]{0,62}")
"""A daemon's name: it stands in paths, and in the positions of readings."""

BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/?*#%\s]+)*")

FOLDER = re.compile(r"/[^,?*\[\]\x00-\x1f]+")
"""A path that DuckDB takes for one file."""


@section("store")
@dataclass(frozen=True, slots=True)
class StoreSettings:
    """`[store]`: the raw store of readings. Raises `SettingError` where a lake has no place or share, or `share` is no name."""

    kind: str = setting("parquet", "raw store", "原始数据存储", choices=("parquet", "influxdb", "lake"))
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
    lake: str = setting("", "of a lake: a folder that all share, or s3://bucket/prefix", "数据湖：共享目录或 s3://桶/前缀")
    lake_buckets: int = setting(
        16,
        "buckets of terminals in each day of a new lake; an existing one keeps its own",
        "新建数据湖的分桶数",
        minimum=1,
        maximum=999,
    )
    s3_endpoint: str = setting(
        "", "address of an object store that is not AWS; what is empty here comes from the AWS environment", "对象存储地址"
    )
    s3_region: str = setting("", "region of the bucket", "对象存储区域")
    s3_key_id: str = setting("", "access key of the bucket", "访问密钥编号")
    s3_secret: str = setting("", "its secret", "访问密钥", secret=True)

    def __post_init__(self) -> None:
        if self.share and not SHARE.fullmatch(self.share):
            raise SettingError(
                f"[store] share = {self.share!r}: expected a name of this daemon's own, of a-z, 0-9, . _ -, like north"
            )
        if self.kind != "lake":
            return
        if not (BUCKET if self.lake.startswith(S3) else FOLDER).fullmatch(self.lake):
            raise SettingError(
                f"[store] lake = {self.lake!r}: expected the whole path of a folder, as /srv/lake, or s3://bucket/prefix"
            )
        if not self.share:
            raise SettingError("[store] share = '': expected a name of this site's own in the lake, like north")
        if self.s3_endpoint and not re.fullmatch(r"https?://[^/?#@\s]+/?", self.s3_endpoint):
            raise SettingError(f"[store] s3_endpoint = {self.s3_endpoint!r}: expected http://host:port or https://host")
        if bool(self.s3_key_id) != bool(self.s3_secret):
            raise SettingError("[store] s3_key_id, s3_secret: expected both, or neither for those of the AWS environment")
