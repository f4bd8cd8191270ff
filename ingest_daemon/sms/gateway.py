"""The SMS gateway that sends: one HTTP POST a message, JSON of the form that the settings give. Blocking: for a thread."""

import json
import re
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

from ingest_daemon.sms.settings import SmsSettings, template

_WORDS, _ANSWER = 500, 1 << 16
_PLACE = re.compile(r"\{(?:id|number|text)\}")
_AGAIN = (401, 403, 407, 408, 425, 429)
"""4xx that do not concern the message: a wrong password is mended in the settings, too many requests pass."""


class Away(Exception):
    """The gateway cannot take messages now: keep them and try again."""


class Refused(Exception):
    """The gateway refuses this message for good; the text quotes its answer."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET whose 200 means nothing."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Gateway:
    """The gateway of the settings."""

    def __init__(self, settings: SmsSettings) -> None:
        self._url, self._timeout, self._yes = settings.gateway_url, settings.gateway_s, settings.gateway_yes
        self._body = template(settings.gateway_body)
        self._headers = {"Content-Type": "application/json; charset=utf-8"}
        if settings.gateway_authorization:
            self._headers["Authorization"] = settings.gateway_authorization
        self._opener = urllib.request.build_opener(_NoRedirect)

    def send(self, identity: str, number: str, text: str) -> None:
        """Hand over one SMS; on return the gateway has taken it. Raises `Away`, `Refused`."""
        values = {"{id}": identity, "{number}": number, "{text}": text}
        body = json.dumps(filled(self._body, values), ensure_ascii=False).encode("utf-8", "replace")
        request = urllib.request.Request(self._url, body, self._headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                said = answer.read(_ANSWER).decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            words = f"HTTP {error.code}: {error.read(_WORDS).decode('utf-8', 'replace')}"
            if 400 <= error.code < 500 and error.code not in _AGAIN:
                raise Refused(words) from None
            raise Away(words) from None
        except (OSError, HTTPException, ValueError) as error:
            raise Away(f"{type(error).__name__}: {error}") from None
        if self._yes not in said:
            raise Away(f"expected {self._yes!r} in its answer ([sms] gateway_yes), there is: {said[:_WORDS]}")


def filled(value: Any, places: dict[str, str]) -> Any:
    """The JSON with its placeholders filled; values are not searched for placeholders again."""
    if isinstance(value, dict):
        return {key: filled(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, places) for item in value]
    if not isinstance(value, str):
        return value
    return _PLACE.sub(lambda match: places[match[0]], value)
