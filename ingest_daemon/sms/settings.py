"""`[sms]` of `site.toml`: the SMS channel in both directions. Lists are text with commas, times of day are `HH:MM`."""

import json
from dataclasses import dataclass
from datetime import time
from typing import Any
from urllib.parse import urlsplit

from ingest_daemon.contract.settings import SettingError, section, setting
from ingest_daemon.contract.severities import SEVERITIES

WAIT, DROP = "wait", "drop"
SECRET_LETTERS = 16


@section("sms")
@dataclass(frozen=True, slots=True)
class SmsSettings:
    """`[sms]`. Raises `SettingError` where settings do not go together."""

    on: bool = setting(False, "whether SMS are received and sent", "是否启用短信通道")
    bind: str = setting("127.0.0.1", "address of POST /sms and POST /alarms; put a TLS proxy before any other", "监听地址")
    port: int = setting(4081, "TCP port of both, 0 picks a free one", "短信接口端口，0 为自动", minimum=0, maximum=65535)
    secret: str = setting("", "shared secret of who may post, at least 16 letters", "共享密钥，至少 16 个字符", secret=True)
    sender_field: str = setting("sender", "gateway's JSON: the sender's number; dots lead inwards (data.from)", "发送号码字段")
    content_field: str = setting("content", "the content", "内容字段")
    coding_field: str = setting("coding", "the content's coding (hex, base64, anything else: found out)", "编码字段")
    id_field: str = setting("id", "the message's own id", "消息编号字段")
    time_field: str = setting("time", "when it was sent (ISO 8601, or seconds or ms since 1970)", "时间字段")
    pdu_field: str = setting("pdu", "the PDU in hex, in place of sender and content", "PDU 字段")
    messages_field: str = setting("messages", "the list, where a request has several messages", "消息数组字段")
    window_h: float = setting(
        72.0, "messages older or newer than this are refused as replayed", "重放时间窗（小时）", minimum=0.1
    )
    parts_h: float = setting(24.0, "how long the parts of a long message are waited for", "长短信等待小时数", minimum=0.01)
    directory: str = setting("", "folder where a modem daemon drops files with PDUs; empty: none", "短信猫收件目录；空为无")
    directory_s: float = setting(3.0, "how often that folder is looked at", "目录检查间隔秒数", minimum=0.1)
    gateway_url: str = setting("", "where outgoing SMS are posted; empty: none go out", "发送网关地址；空为不发送")
    gateway_body: str = setting(
        '{"id": "{id}", "to": "{number}", "text": "{text}"}', "JSON that is posted: {id}, {number}, {text}", "发送网关 JSON 模板"
    )
    gateway_authorization: str = setting("", "header Authorization for the gateway", "网关认证头", secret=True)
    gateway_yes: str = setting(
        "",
        "text in the answer that says yes, where every answer is 200; empty: 2xx is enough",
        "网关成功应答须含的文字；空为只看 2xx",
    )
    gateway_s: float = setting(10.0, "the gateway's answer is waited for this long", "网关超时秒数", minimum=0.1)
    recipients: str = setting("", "numbers that alarms go to", "接收报警的号码，逗号分隔")
    parts: int = setting(
        2, "most SMS (70 letters each) of one alarm; the rest is cut off", "每条报警最多短信条数", minimum=1, maximum=9
    )
    hourly: int = setting(60, "most SMS an hour; the others wait, the most pressing go first", "每小时最多发送条数", minimum=1)
    repeat_min: float = setting(
        60.0, "the same alarm is not sent again within so many minutes", "同一报警重发间隔（分钟）", minimum=0
    )
    resolved: bool = setting(False, "whether the end of an alarm is sent, too", "报警恢复是否发送")
    night_start: str = setting("22:00", "night begins, local time; the same as its end: no night", "夜间开始")
    night_end: str = setting("06:00", "night ends", "夜间结束")
    night_severity: str = setting(
        "critical", "what is less pressing is not sent at night", "夜间可发送的最低级别", choices=SEVERITIES
    )
    night_action: str = setting(
        WAIT, "what happens with it: it waits for the morning or is dropped", "夜间处理", choices=(WAIT, DROP)
    )

    def __post_init__(self) -> None:
        for name in ("night_start", "night_end"):
            time_of_day(name, getattr(self, name))
        if not self.on:
            return
        if len(self.secret) < SECRET_LETTERS or not self.secret.isascii():
            raise SettingError(f"[sms] secret: expected at least {SECRET_LETTERS} ASCII letters, there are {len(self.secret)}")
        if self.gateway_url:
            if urlsplit(self.gateway_url).scheme not in ("http", "https"):
                raise SettingError(f"[sms] gateway_url = {self.gateway_url!r}: expected http://… or https://…")
            template(self.gateway_body)
            if not self.numbers():
                raise SettingError("[sms] recipients: expected at least one number, since gateway_url is set")

    def numbers(self) -> list[str]:
        """The recipients."""
        return [number.strip() for number in self.recipients.split(",") if number.strip()]


def template(text: str) -> Any:
    """The gateway's JSON with its placeholders. Raises `SettingError`."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SettingError(f"[sms] gateway_body is not JSON: {error}") from None
    if "{number}" not in text or "{text}" not in text:
        raise SettingError("[sms] gateway_body: expected the places {number} and {text} in it")
    return value


def time_of_day(name: str, text: str) -> time:
    """`HH:MM`. Raises `SettingError`."""
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise SettingError(f"[sms] {name} = {text!r}: expected a time of day like 22:00") from None
