"""How a table of schema `ops` comes to be: whoever needs it first makes it."""

import psycopg


def create_missing(connection: psycopg.Connection, table: str, statement: str) -> None:
    """Create a table (`schema.name`) where it is missing, without committing.

    It is asked for first: a user without the right to create may still write.
    """
    if connection.execute("select to_regclass(%s)", [table]).fetchone() == (None,):
        connection.execute(statement)
