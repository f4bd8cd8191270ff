"""The section `[amr]`: the other systems whose readings and alarms are imported."""

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ingest_daemon.codec_kit.units import FLOWS, PRESSURES, VOLUMES
from ingest_daemon.contract.settings import SettingError, section, setting

NAME = r"[A-Za-z0-9-]{1,30}"
_TABLE = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*){0,2}"


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """A row of `[amr] sources`. Raises `SettingError` where it cannot work."""

    name: str = setting("", "a name of letters, digits and -", "名称，字母、数字与 -")
    connection: str = setting("", "ODBC connection string of a role that only reads", "ODBC 连接串，只读角色", secret=True)
    purge_connection: str = setting(
        "", "the same of a role that may delete; empty: nothing is deleted", "可删除角色的连接串；空为不删除", secret=True
    )
    period_min: int = setting(
        15, "minutes between two deliveries, and between two syncs", "更新周期（分钟）", minimum=1, maximum=1440
    )
    zone: str = setting("", "IANA zone of times without an offset; empty: the site's", "无时区时间的时区；空为站点时区")
    volume_unit: str = setting("m3", "unit of the registers", "表底单位", choices=tuple(VOLUMES))
    volume_factor: float = setting(
        1.0, "multiplies the registers, like 10 for a wheel of 10 m³", "表底倍率", minimum=1e-9, maximum=1e9
    )
    flow_unit: str = setting("m3/h", "unit of the flow", "流量单位", choices=tuple(FLOWS))
    flow_factor: float = setting(1.0, "multiplies the flow; -1 where forward flow is negative", "流量倍率；正向为负时填 -1")
    pressure_unit: str = setting("MPa", "unit of the pressure", "压力单位", choices=tuple(PRESSURES))
    pressure_factor: float = setting(1.0, "multiplies the pressure", "压力倍率", minimum=1e-9, maximum=1e9)
    reading_table: str = setting("amr_reading", "table of the readings", "读数表名")
    alarm_table: str = setting("amr_alarm", "table of the alarms; empty: none", "报警表名；空为无")
    overlap_min: int = setting(
        120,
        "rows written so long before the newest are looked at again",
        "重读时间（分钟），为迟交与更正",
        minimum=0,
        maximum=100_000,
    )
    purge_days: int = setting(30, "rows younger than this are not deleted", "中间表保留天数", minimum=1)
    batch: int = setting(20_000, "rows read and sent at a time", "每批行数", minimum=1, maximum=1_000_000)

    def __post_init__(self) -> None:
        where = f"[amr] sources, {self.name or 'one without a name'}:"
        if not re.fullmatch(NAME, self.name):
            raise SettingError(f"{where} name: expected 1 to 30 letters, digits and -")
        if not self.connection:
            raise SettingError(
                f"{where} connection: empty, expected an ODBC connection string like DRIVER=…;Server=…;UID=…;PWD=…"
            )
        if not -1e9 <= self.flow_factor <= 1e9 or not self.flow_factor:
            raise SettingError(f"{where} flow_factor = {self.flow_factor!r}: expected a number other than 0")
        for key in ("reading_table", "alarm_table"):
            table = getattr(self, key)
            if not re.fullmatch(_TABLE, table) and (table or key == "reading_table"):
                raise SettingError(
                    f"{where} {key} = {table!r}: expected the name of a table, like amr_reading or dbo.amr_reading"
                )
        if self.zone:
            try:
                ZoneInfo(self.zone)
            except (ValueError, OSError, ZoneInfoNotFoundError):
                raise SettingError(
                    f"{where} zone = {self.zone!r}: not an IANA time zone; for example Asia/Shanghai, UTC"
                ) from None


@section("amr")
@dataclass(frozen=True, slots=True)
class AmrSettings:
    """`[amr]`: other systems' tables, read through ODBC."""

    sources: tuple[SourceSettings, ...] = setting(
        (),
        "other systems, like [{name = 'v02', connection = 'DRIVER=…;Server=…;Database=…;UID=…;PWD=…', flow_unit = 'L/s'}]",
        "其他采集系统，每个一项",
        secret=True,
        rows=SourceSettings,
    )

    def __post_init__(self) -> None:
        names = [row.name for row in self.sources]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise SettingError(f"[amr] sources: expected names of their own, twice there: {', '.join(repeated)}")

    def source(self, name: str) -> SourceSettings:
        """The source of a name. Raises `SettingError` naming those there are."""
        for row in self.sources:
            if row.name == name:
                return row
        raise SettingError(f"no source {name!r}; [amr] sources has: {', '.join(row.name for row in self.sources) or 'none'}")
