"""Functions that the selects of marts share, as macros of the warehouse's connection."""

from types import MappingProxyType

import duckdb

MACROS = MappingProxyType(
    {
        # The value of a criterion (sql/rules/criteria.csv) on a day.
        "criterion": """
            (named, on_day) as (
                select arg_max(value, coalesce(valid_from, date '0001-01-01'))
                from registry.criteria
                where name = named and (valid_from is null or valid_from <= on_day)
            )""",
        # Error of a water meter at a flow, as a share, by the default curve (docs/domain.md#meter-fit): nothing is registered
        # below the starting flow, from there it is linear to the error at Q1, and to none at Q2.
        "meter_error": """
            (flow_m3h, q1_m3h, q2_m3h, start_share, error_at_q1) as
                case
                    when q1_m3h is null or q2_m3h is null then null
                    when flow_m3h >= q2_m3h then 0.0
                    when flow_m3h >= q1_m3h then error_at_q1 * (q2_m3h - flow_m3h) / (q2_m3h - q1_m3h)
                    when flow_m3h < start_share * q1_m3h then -1.0
                    else -1.0 + (1 + error_at_q1) * (flow_m3h - start_share * q1_m3h) / ((1 - start_share) * q1_m3h)
                end""",
    }
)
"""By name: arguments and body."""


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Make every macro for this connection."""
    for name, body in MACROS.items():
        connection.execute(f"create or replace temp macro {name}{body.strip()}").fetchall()


def used_by(query: str) -> str:
    """The text of the macros that a select calls: what its rows depend on as well."""
    return "".join(" ".join(body.split()) for name, body in MACROS.items() if f"{name}(" in query)
