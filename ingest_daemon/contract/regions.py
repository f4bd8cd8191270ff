"""Names by which PostgreSQL, Grafana and the desk know somebody who sees one region only."""

ROLE_PREFIX = "mainflow_board_"
LIMITED_ROLE, LIMITED_DESK = "mainflow_limited", "mainflow_desk_limited"
"""The group of all who see one region only; the role that the desk takes for one of them."""

REGION_SETTING = "mainflow.region"
"""PostgreSQL's setting that holds the region of LIMITED_DESK."""


def board_role(region: str) -> str:
    """The PostgreSQL role of a region's boards."""
    return ROLE_PREFIX + region


def organisation(region: str) -> str:
    """The organisation of a region in Grafana."""
    return f"Mainflow {region}"
