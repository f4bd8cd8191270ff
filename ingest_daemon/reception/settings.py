"""Typed settings: how a section of `site.toml` (or the environment) becomes a frozen dataclass; the daemon's sections.

A wrong setting is named at start with the allowed values. `sample()` prints the sections as commented TOML, so the file that
`mainflow init` writes can never drift from what is read.
"""

from dataclasses import dataclass

from ingest_daemon import codecs
from ingest_daemon.contract.settings import AUTO, setting
from ingest_daemon.forwarding.settings import TimeSettings

PROTOCOLS = (*codecs.names(), AUTO)


@dataclass(frozen=True, slots=True)
class DaemonSettings(TimeSettings):
    """`[daemon]`: the listeners, the journal, and which device times are believed."""

    bind: str = setting("127.0.0.1", "address that terminals connect to; 0.0.0.0 for all", "监听地址；0.0.0.0 表示全部")
    data_port: int = setting(4000, "TCP port for data, 0 picks a free one", "数据端口，0 为自动", minimum=0, maximum=65535)
    alarm_port: int = setting(5000, "TCP port for alarms, 0 picks a free one", "报警端口，0 为自动", minimum=0, maximum=65535)
    health_port: int = setting(
        4080,
        "TCP port on 127.0.0.1 for /healthz and /metrics, 0 picks a free one",
        "健康检查端口，0 为自动",
        minimum=0,
        maximum=65535,
    )
    data_protocol: str = setting("sl651", "protocol of the data port", "数据端口的规约", choices=PROTOCOLS)
    alarm_protocol: str = setting("sl651", "protocol of the alarm port", "报警端口的规约", choices=PROTOCOLS)
    connections: int = setting(20000, "most connections at a time", "最大连接数", minimum=1)
    idle_s: float = setting(300.0, "a silent connection is closed after this many seconds", "空闲断开秒数", minimum=1)
    bad_bytes: int = setting(65536, "rejected bytes after which a connection is closed", "单连接坏字节上限", minimum=0)
    segment_mb: int = setting(64, "size of a journal segment", "日志分段大小 MB", minimum=1)
    journal_mb: int = setting(4096, "disk budget of the journal; beyond it frames are refused", "日志磁盘预算 MB", minimum=1)


@dataclass(frozen=True, slots=True)
class PollSettings:
    """`[poll]`: terminals that speak only when asked."""

    answer_s: float = setting(5.0, "an answer is waited for this long", "等待应答秒数", minimum=0.1)
    tries: int = setting(3, "how often a request is sent before it counts as unanswered", "请求次数", minimum=1)
    spread_s: float = setting(60.0, "polls of one moment are spread over this many seconds", "错峰秒数", minimum=0)
