"""The sections `[daemon]`, `[access]` and `[poll]`: the listeners, who may be on the line, and polling."""

import ipaddress
from dataclasses import dataclass

from ingest_daemon import codecs
from ingest_daemon.contract.settings import AUTO, SettingError, section, setting
from ingest_daemon.forwarding.settings import TimeSettings

PROTOCOLS = (*(name for name in codecs.names() if name != codecs.IMPORTED), AUTO)
"""What a port may speak."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ACCEPT, QUARANTINE, REFUSE = "accept", "quarantine", "refuse"
POLICIES = (ACCEPT, QUARANTINE, REFUSE)
"""What is done with a doubted frame: nothing but counting; acknowledged, its readings kept aside; not acknowledged, its bytes
in the journal's stream `bad`."""

ASYNCIO, UVLOOP = "asyncio", "uvloop"

ACKNOWLEDGE, IGNORE = "acknowledge", "ignore"


@section("daemon")
@dataclass(frozen=True, slots=True)
class DaemonSettings(TimeSettings):
    """`[daemon]`: the listeners, the journal, and which device times are believed."""

    bind: str = setting("127.0.0.1", "address that terminals connect to; 0.0.0.0 for all", "监听地址；0.0.0.0 表示全部")
    data_port: int = setting(4000, "TCP port for data, 0 picks a free one", "数据端口，0 为自动", minimum=0, maximum=65535)
    alarm_port: int = setting(5000, "TCP port for alarms, 0 picks a free one", "报警端口，0 为自动", minimum=0, maximum=65535)
    health_bind: str = setting(
        "127.0.0.1",
        "address for /healthz and /metrics, which ask for no password; another one only for a balancer on another host",
        "健康检查监听地址（无口令）；仅当负载均衡在另一主机时改",
    )
    health_port: int = setting(
        4080,
        "TCP port for /healthz and /metrics, 0 picks a free one",
        "健康检查端口，0 为自动",
        minimum=0,
        maximum=65535,
    )
    data_protocol: str = setting("sl651", "protocol of the data port", "数据端口的规约", choices=PROTOCOLS)
    alarm_protocol: str = setting("sl651", "protocol of the alarm port", "报警端口的规约", choices=PROTOCOLS)
    connections: int = setting(20000, "most connections at a time", "最大连接数", minimum=1)
    proxy_protocol: bool = setting(
        False,
        "terminals come through a balancer that sends a PROXY protocol header (v1, v2); only then",
        "终端经负载均衡接入，且其发送 PROXY 头",
    )
    event_loop: str = setting(
        ASYNCIO,
        "event loop; uvloop (pip install mainflow[uvloop]) takes half the CPU for short connections",
        "连接的事件循环；uvloop 需另装，短连接省一半 CPU",
        choices=(ASYNCIO, UVLOOP),
    )
    idle_s: float = setting(300.0, "a silent connection is closed after this many seconds", "空闲断开秒数", minimum=1)
    bad_bytes: int = setting(65536, "rejected bytes after which a connection is closed", "单连接坏字节上限", minimum=0)
    segment_mb: int = setting(64, "size of a journal segment", "日志分段大小 MB", minimum=1)
    journal_mb: int = setting(4096, "disk budget of the journal; beyond it frames are refused", "日志磁盘预算 MB", minimum=1)
    stranger_mb: int = setting(
        256,
        "disk budget of frames of unregistered terminals; beyond it the oldest are dropped",
        "未登记终端帧的磁盘预算 MB，超出则弃旧",
        minimum=1,
    )
    bad_mb: int = setting(
        256, "disk budget of rejected bytes; beyond it the oldest are dropped", "坏字节的磁盘预算 MB，超出则弃旧", minimum=1
    )


@section("access")
@dataclass(frozen=True, slots=True)
class AccessSettings:
    """`[access]`: who may be on the line. Raises `SettingError` where `allow` is no list of networks."""

    allow: str = setting(
        "", "addresses that may connect, like 10.0.0.0/8,192.168.1.5; empty: all", "允许连接的网段，逗号分隔；空为全部"
    )
    per_address: int = setting(
        2000, "most connections of one address (a carrier puts many terminals behind one)", "单一地址最大连接数", minimum=1
    )
    frame_s: float = setting(
        60.0, "a frame that has begun must be complete within this many seconds", "一帧须在此秒数内收齐", minimum=1
    )
    unknown: str = setting(
        ACKNOWLEDGE,
        "whether frames of unregistered terminals are acknowledged; they are kept for adoption either way",
        "未登记终端的帧是否应答（均保留备补收）",
        choices=(ACKNOWLEDGE, IGNORE),
    )
    wrong_password: str = setting(
        QUARANTINE,
        "a frame without the registered password; none registered: no check; quarantine: acknowledged, readings not stored",
        "口令与档案不符的帧；档案无口令则不查",
        choices=POLICIES,
    )
    foreign_station: str = setting(
        ACCEPT,
        "a second station on a connection, not on the same link; relays and gateways speak for many",
        "同一连接上的另一站（网关、中继属正常）",
        choices=POLICIES,
    )
    replayed: str = setting(
        ACCEPT,
        "an acknowledged frame again from another address after replay_s; stored twice it is still one reading",
        "已应答的帧隔时又从别处来",
        choices=POLICIES,
    )
    replay_s: float = setting(
        3600.0, "within this many seconds a repetition is a terminal's own", "此秒数内的重复视为终端重发", minimum=0
    )
    tls_certificate: str = setting("", "certificate chain (PEM) for TLS; empty: plain TCP", "TLS 证书文件；空为明文")
    tls_key: str = setting("", "private key (PEM, without passphrase) of the certificate", "TLS 私钥文件（无口令）")
    tls_client_ca: str = setting(
        "", "authorities (PEM) whose certificates terminals must show; empty: none asked for", "终端证书的 CA 文件；空为不验"
    )

    def __post_init__(self) -> None:
        networks(self.allow)


def networks(allow: str) -> tuple[Network, ...]:
    """The networks of a list like `10.0.0.0/8, 192.168.1.5`. Raises `SettingError` naming the part that is none."""
    found = []
    for part in filter(None, map(str.strip, allow.split(","))):
        try:
            found.append(ipaddress.ip_network(part, strict=False))
        except ValueError as error:
            raise SettingError(
                f"[access] allow has {part!r}: {error}; expected addresses or networks, like 10.0.0.0/8,192.168.1.5"
            ) from None
    return tuple(found)


@section("poll")
@dataclass(frozen=True, slots=True)
class PollSettings:
    """`[poll]`: terminals that answer only when polled."""

    answer_s: float = setting(5.0, "seconds to wait for a response", "等待应答秒数", minimum=0.1)
    tries: int = setting(3, "times a request is sent before it counts as unanswered", "请求次数", minimum=1)
    spread_s: float = setting(60.0, "polls of one moment are spread over this many seconds", "错峰秒数", minimum=0)
