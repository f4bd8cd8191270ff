"""Who of a region sees which rows: policies of row-level security on what is published, and on what boards show of `ops`.

    mainflow_board_<region>   reads as a member of mainflow_limited: Grafana's organisation of the region
    mainflow_desk_limited     the desk for somebody of a region, which it names in the setting `mainflow.region`

A meter belongs to the region that holds now, or held last, by `mart.relation`; a customer to that of `mart.customer`. Whoever is
no member of mainflow_limited sees what he saw before. A table shows its members no row until `condition` has a rule for it, so
that a panel on it is empty and no error; what is not published by us is closed, and a view unless it has the rights of who asks.
`pipelines/processes/region_roles.py` or an administrator makes the roles; where mainflow_limited is absent, nothing is done.
"""

from collections.abc import Collection, Iterable
from hashlib import sha256
from typing import NamedTuple

import psycopg
from psycopg import sql

from ingest_daemon.contract.regions import LIMITED_DESK, LIMITED_ROLE, REGION_SETTING, ROLE_PREFIX

EVERYONE = frozenset({"calendar", "criterion", "meter_catalogue", "time_segment", "vee_rule"})
"""Tables of words and rules alone, which everybody reads whole."""

ALL_ROWS, NO_ROW = "true", "false"
OF_METER = "exists (select from rights.seen_meter as seen where seen.meter = {table}.meter)"
OF_CUSTOMER = "exists (select from rights.seen_customer as seen where seen.customer_no = {table}.customer_no)"
OF_REGION = "kind = 'region' and code = (select rights.own_region())"

OF_OPS = {
    "alarm_event": OF_METER,
    "alarm": OF_METER,
    "alarm_history": "exists (select from ops.alarm where alarm.alarm_id = {table}.alarm_id)",
    "alarm_look": ALL_ROWS,
    "latest_reading": OF_METER,
    "meter_change": OF_METER,
    "ticker_setting": ALL_ROWS,
}
"""The rows of schema `ops` that somebody of a region sees."""

UNLIMITED_ROLES = ("mainflow_board", "mainflow_desk")
UNLIMITED = "select rolname from pg_roles where rolname = any(%s)"

WRITTEN_BY_DESK = (
    "update (acknowledged_by, acknowledged_at, cause, note) on ops.alarm",
    "insert on ops.alarm_history",
    "insert on ops.meter_change",
)

WHOLE, EVERYBODY_ELSE = "mainflow_whole", "mainflow_everybody_else"
OF_REGIONS = "mainflow_region"
"""Names of the policies; that of regions ends with a digest of its condition, so that another condition is another policy."""

OF_EVERYBODY_ELSE = f"""
not pg_has_role('{LIMITED_ROLE}', 'usage')
and not exists (select from pg_policy where polrelid = '{{schema}}.{{table}}'::regclass and polname not like 'mainflow\\_%')
"""
"""A table without policies of others is seen whole, with them as far as they go."""

MADE_FROM = ("relation", "customer", "meter")
SEEN = f"""
create schema if not exists rights;
create or replace function rights.own_region() returns text language sql stable parallel safe as $$
    select case
        when current_user = '{LIMITED_DESK}' then nullif(current_setting('{REGION_SETTING}', true), '')
        when starts_with(current_user, '{ROLE_PREFIX}') then substr(current_user, {len(ROLE_PREFIX) + 1})
    end
$$;
create index if not exists relation_kind_code_idx on mart.relation (kind, code);
create or replace view rights.seen_meter with (security_barrier = true) as
select held.meter
from mart.relation as held
where held.kind = 'region'
    and held.code = rights.own_region()
    and coalesce(held.valid_from, '-infinity') <= current_date
    and not exists (
        select from mart.relation as later
        where later.meter = held.meter
            and later.kind = 'region'
            and later.valid_from <= current_date
            and later.valid_from > coalesce(held.valid_from, '-infinity')
    );
create or replace view rights.seen_customer with (security_barrier = true) as
select customer.customer_no
from mart.customer
where customer.region = rights.own_region()
    or (
        customer.region is null
        and exists (
            select from mart.meter join rights.seen_meter using (meter) where meter.customer_no = customer.customer_no
        )
    );
grant usage on schema rights, mart, ops to {LIMITED_ROLE};
grant select on rights.seen_meter, rights.seen_customer to {LIMITED_ROLE};
"""
"""Their owner reads the tables; `own_region` is that of who asks."""


class _Relation(NamedTuple):
    """A table or view as it is now."""

    schema: str
    name: str
    is_view: bool
    is_invokers: bool
    """Of a view: whether it reads with the rights of who asks."""
    is_guarded: bool
    is_read: bool
    """Whether somebody of a region may select from it."""
    columns: list[str]
    policies: list[str]

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def condition(self) -> str | None:
        """Which rows somebody of a region sees; None: it is closed to him."""
        if self.is_view:
            return ALL_ROWS if self.is_invokers else None
        return OF_OPS.get(self.name) if self.schema == "ops" else condition(self.name, self.columns)


def condition(table: str, columns: Collection[str]) -> str:
    """Which rows of a published table somebody of a region sees."""
    if table in EVERYONE:
        return ALL_ROWS
    for needed, rule in (({"meter"}, OF_METER), ({"customer_no"}, OF_CUSTOMER), ({"kind", "code"}, OF_REGION)):
        if needed <= set(columns):
            return rule
    return NO_ROW


def limit(target: psycopg.Connection, published: Iterable[str]) -> None:
    """Let members of mainflow_limited see the rows of their region and no others; writes only what is not so yet.

    `published`: tables and views of schema `mart`; any other is closed. In an autocommit connection each table is locked for its
    own change alone. Raises `psycopg.Error`.
    """
    if target.execute("select from pg_roles where rolname = %s", [LIMITED_ROLE]).fetchone() is None:
        return
    relations = list(_relations(target))
    has_seen = {relation.name for relation in relations if relation.schema == "mart"} >= set(MADE_FROM)
    if has_seen:
        _make_seen(target)
    wanted = set(published)
    for relation in relations:
        is_known = relation.schema == "ops" or relation.name in wanted
        rule = relation.condition if is_known and has_seen else None
        with target.transaction():
            _guard(target, relation, rule)
    if has_seen:
        _let_desk_write(target)


RELATIONS = """
select
    namespace.nspname,
    relation.relname,
    relation.relkind = 'v',
    coalesce('security_invoker=true' = any(relation.reloptions), false),
    relation.relrowsecurity,
    has_table_privilege(%(role)s, relation.oid, 'select'),
    array(
        select attname::text from pg_attribute where attrelid = relation.oid and attnum > 0 and not attisdropped
    ),
    array(select polname::text from pg_policy where polrelid = relation.oid)
from pg_class as relation
join pg_namespace as namespace on namespace.oid = relation.relnamespace
where nspname in ('mart', 'ops') and relkind in ('r', 'p', 'v') and pg_has_role(relowner, 'usage')
    and (nspname = 'mart' or relname <> 'schema_version')
order by 1, 2
"""


def _relations(target: psycopg.Connection) -> Iterable[_Relation]:
    """What the schemas have that is ours to grant."""
    return (_Relation(*row) for row in target.execute(RELATIONS, {"role": LIMITED_ROLE}).fetchall())


def _make_seen(target: psycopg.Connection) -> None:
    """The views that policies ask, where they are absent or of another version."""
    version = sha256(SEEN.encode()).hexdigest()
    there = target.execute("select obj_description(to_regclass('rights.seen_customer'), 'pg_class')").fetchone()
    if there != (version,):
        with target.transaction():
            target.execute(SEEN)
            target.execute(sql.SQL("comment on view rights.seen_customer is {}").format(sql.Literal(version)))


def _guard(target: psycopg.Connection, relation: _Relation, rule: str | None) -> None:
    """Give a relation the policies of a rule before anybody of a region may read it."""
    name, role = relation.identifier, sql.Identifier(LIMITED_ROLE)
    if rule is None:
        if relation.is_read:
            target.execute(sql.SQL("revoke select on {} from {}").format(name, role))
        return
    if rule != ALL_ROWS:
        _make_policies(target, relation, rule)
    if not relation.is_read:
        target.execute(sql.SQL("grant select on {} to {}").format(name, role))


def _make_policies(target: psycopg.Connection, relation: _Relation, rule: str) -> None:
    """Row-level security as the rule says. Where somebody else switched it on, his policies alone hold for everybody else."""
    name, role = relation.identifier, sql.Identifier(LIMITED_ROLE)
    text = rule.format(table=relation.name)
    own = f"{OF_REGIONS}_{sha256(text.encode()).hexdigest()[:8]}"
    if own not in relation.policies:
        _drop(target, relation.schema, relation.name, relation.policies)
        statement = sql.SQL("create policy {} on {} to {} using ({})")
        target.execute(statement.format(sql.Identifier(own), name, role, sql.SQL(text)))
    if not relation.is_guarded:
        if EVERYBODY_ELSE not in relation.policies:
            others = sql.SQL(OF_EVERYBODY_ELSE.format(schema=relation.schema, table=relation.name))
            target.execute(sql.SQL("create policy {} on {} using ({})").format(sql.Identifier(EVERYBODY_ELSE), name, others))
        for (reader,) in target.execute(UNLIMITED, [list(UNLIMITED_ROLES)]).fetchall():
            own_name = sql.Identifier(f"{WHOLE}_{reader}")
            statement = sql.SQL("create policy {} on {} to {} using (true)")  # a constant, which costs a scan nothing
            if f"{WHOLE}_{reader}" not in relation.policies:
                target.execute(statement.format(own_name, name, sql.Identifier(reader)))
        target.execute(sql.SQL("alter table {} enable row level security").format(name))


def _drop(target: psycopg.Connection, schema: str, table: str, policies: Iterable[str]) -> None:
    for policy in policies:
        if policy.startswith(OF_REGIONS):
            target.execute(sql.SQL("drop policy {} on {}").format(sql.Identifier(policy), sql.Identifier(schema, table)))


def release(target: psycopg.Connection, table: str) -> None:
    """Free the columns of a table of schema `mart` of the policies of regions, whose people see nothing of it until `limit`."""
    query = "select polname from pg_policy where polrelid = to_regclass(%s)"
    _drop(target, "mart", table, [policy for (policy,) in target.execute(query, [f"mart.{table}"])])


def _let_desk_write(target: psycopg.Connection) -> None:
    """What the desk may change for somebody of a region, within his rows."""
    query = "select from pg_roles where rolname = %s and not has_table_privilege(rolname, 'ops.meter_change', 'insert')"
    if target.execute(query, [LIMITED_DESK]).fetchone() is not None:
        for right in WRITTEN_BY_DESK:
            target.execute(sql.SQL("grant {} to {}").format(sql.SQL(right), sql.Identifier(LIMITED_DESK)))
