"""`[desk]` of `site.toml`."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ingest_daemon.contract.settings import SettingError, section, setting
from ingest_daemon.contract.site import Site


@section("desk")
@dataclass(frozen=True, slots=True)
class DeskSettings:
    """`[desk]`. Raises `SettingError` for an address that is none."""

    port: int = setting(3020, "port of the desk, 0 picks a free one", "工作台端口，0 为自动", minimum=0, maximum=65535)
    bind: str = setting("127.0.0.1", "address it listens on; put a TLS proxy before any other", "监听地址")
    url: str = setting(
        "",
        "address at which people reach it, for links and secure cookies; empty: that of this machine",
        "工作台对外地址，用于链接",
    )
    grafana: str = setting(
        "http://127.0.0.1:3000",
        "Grafana that checks log-ins; mainflow up names the one that it starts",
        "校验登录的 Grafana 地址",
    )
    grafana_link: str = setting("", "address at which people reach Grafana, for links; empty: the one above", "Grafana 对外地址")
    session_h: float = setting(12.0, "hours after which one logs in again", "登录有效小时数", minimum=0.1, maximum=720)
    proxy: str = setting(
        "", "address of the reverse proxy whose X-Forwarded-For is believed; empty: none", "反向代理地址，信其 X-Forwarded-For"
    )
    wall_key: str = setting(
        "",
        "key of /wall?key=…, at least 16 letters: the wall without a log-in; empty: none",
        "大屏免登录密钥，至少 16 个字符",
        secret=True,
    )
    feed_token: str = setting(
        "",
        "token of /feed/latest.csv and .json for SCADA, at least 16 letters; sent as Authorization: Bearer; empty: no feed",
        "SCADA 最新值接口令牌，至少 16 个字符；空为不开放",
        secret=True,
    )

    def __post_init__(self) -> None:
        for name in ("url", "grafana", "grafana_link"):
            text = getattr(self, name)
            url = urlsplit(text)
            if text and not (url.scheme in ("http", "https") and url.hostname):
                raise SettingError(f"[desk] {name} = {text!r}: expected https://… or http://… with a name")
        if urlsplit(self.url).path.strip("/"):
            raise SettingError(f"[desk] url = {self.url!r}: expected no path: the desk has a name or a port of its own")

    def check_key(self) -> None:
        """Raises `SettingError` where the key of the wall or of the feed could be guessed, or does not stand in an address."""
        for name in ("wall_key", "feed_token"):
            key = getattr(self, name)
            if key and not (len(key) >= KEY_LETTERS and key.isascii() and key.isalnum()):
                raise SettingError(f"[desk] {name}: expected at least {KEY_LETTERS} letters and digits; empty: none")

    def link(self, port: int) -> str:
        """The address of the desk in links. `port`: where it listens."""
        return self.url.rstrip("/") or f"http://127.0.0.1:{port}"

    @property
    def boards(self) -> str:
        """The address of Grafana in links."""
        return (self.grafana_link or self.grafana).rstrip("/")

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach it over TLS."""
        return self.url.startswith("https:")


KEY_LETTERS = 16


def address_file(site: Site) -> Path:
    """The file with the running desk's `port` and `link`, for other processes."""
    return site.state / "desk.json"
