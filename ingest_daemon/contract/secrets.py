"""Texts without the passwords of connection strings: for errors that a person or a log sees."""

import re

_KEY = r"(?i)\b(pwd|password|passwd|token)\s*=\s*"
_IN_BRACES = r"\{(?:[^}]|\}\})*\}"
_SPELLED = re.compile(_KEY + rf"({_IN_BRACES}|'[^']*'|\"[^\"]*\"|[^\s;,&]+)")
_ODBC = re.compile(_KEY + rf"({_IN_BRACES}|[^;]*)")
"""In ODBC connection strings a value ends at a semicolon, so it may hold blanks and commas."""
_ADDRESS = re.compile(r"(://[^:/@\s]*:)([^@\s]+)@")


def without_secrets(text: str, *connections: str) -> str:
    """The text with `***` for every password that it spells, and for those of these connection strings wherever they stand."""
    secrets = {
        form
        for connection in connections
        for pattern in (_SPELLED, _ODBC, _ADDRESS)
        for _, secret in pattern.findall(connection)
        for form in (secret, secret.strip("{}'\""))
        if form.strip()
    }
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _ADDRESS.sub(r"\1***@", _SPELLED.sub(r"\1=***", text))
