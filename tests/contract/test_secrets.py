"""No password of a connection string is in a text that a person or a log sees."""

import pytest

from ingest_daemon.contract.secrets import without_secrets


@pytest.mark.parametrize(
    ("connection", "text", "expected"),
    [
        pytest.param("DSN=b;PWD=s3cret;UID=u", "login s3cret failed", "login *** failed", id="ODBC"),
        pytest.param("DSN=b;PWD={a;b c};UID=u", "near 'a;b c' or {a;b c}", "near '***' or ***", id="ODBC in braces"),
        pytest.param("DSN=b;Password=two words, three;UID=u", "two words, three!", "***!", id="ODBC with blanks"),
        pytest.param("host=h password=s3cret dbname=d", "FATAL: s3cret", "FATAL: ***", id="PostgreSQL"),
        pytest.param("host=h password='a b' dbname=d", "FATAL: a b", "FATAL: ***", id="PostgreSQL in quotes"),
        pytest.param(
            "postgresql://u:s3cret@h/d", "s3cret at postgresql://u:s3cret@h/d", "*** at postgresql://u:***@h/d", id="URL"
        ),
        pytest.param("", "token=abc&x=1; pwd = 'q w'", "token=***&x=1; pwd=***", id="spelled in the text"),
        pytest.param("DSN=b;PWD=;UID=u", "no password", "no password", id="an empty password hides nothing"),
    ],
)
def test_a_password_becomes_asterisks_wherever_it_stands(connection: str, text: str, expected: str) -> None:
    assert without_secrets(text, connection) == expected
