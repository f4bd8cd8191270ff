"""`month_end`: what the accounts of each month came to, by class, kept once the month is closed.

    billing, meter_month, bill, bill_charge, relation ──▶ month_end ──▶ revenue_kpi, reading_status, collection_status …

A month is corrected until `revenue.open_days` after its end. From then on its rows stay: billing systems take old bills away and
move customers, and what was told of a month must not change with that. A kind of class that comes later is added to closed
months.
"""

from datetime import date

import duckdb

from assets import warehouse

KEY = ("month", "kind", "code", "source", "vendor")

COUNTS = (
    *("customers", "meters", "meters_read", "meters_estimated", "meters_not_due"),
    *("bills", "bills_estimated", "bills_issued", "days_to_issue", "payers", "bills_shared"),
)
AMOUNTS = (
    *("billed", "billed_water", "billed_drainage", "opening", "opening_water", "opening_drainage"),
    *("received", "received_water", "received_drainage", "received_current", "received_arrears", "received_other", "adjustment"),
    *("closing", "closing_water", "closing_drainage", "overdue"),
    *("age_0_months", "age_1_to_3_months", "age_4_to_6_months", "age_7_to_12_months", "age_over_12_months"),
)

COLUMNS = {
    "month": "date",
    **dict.fromkeys(KEY[1:], "varchar"),
    **dict.fromkeys(COUNTS, "bigint"),
    "volume_m3": "double",
    "estimated_m3": "double",
    **dict.fromkeys(AMOUNTS, "decimal(18, 4)"),
    "as_of": "date",
    "first_made_on": "date",
}
"""Columns of `month_end`; meanings stand in sql/tables/month_end.yaml. All but the key and the last two add up over source and
vendor."""

SUMS = tuple(name for name in (*COUNTS, "volume_m3", "estimated_m3", *AMOUNTS) if name not in ("customers", "payers"))
MAY_LACK = (
    "volume_m3",
    "overdue",
    *(f"{name}_{part}" for name in ("billed", "opening", "received", "closing") for part in ("water", "drainage")),
)
"""Sums that are null where nothing of the kind is known; the others are 0 then."""

OVERLAPPING = ("group", "network", "line")
"""Kinds of which a meter may have several codes; of each other shipped kind it has one."""

CHARGED_PAYMENT = """
create or replace temp table charged_payment as
with kinds as (select distinct bill_no, charge_kind from bill_charge)

select payment.bill_no, kinds.charge_kind, customer_no, paid_on, amount
from billing.payment
left join kinds on kinds.bill_no = payment.bill_no and kinds.charge_kind = charge_code(payment.charge_kind)
where amount is not null"""
"""Payments with the charge that they name, where the bill has it."""

LINES = """
    select
        line.bill_no,
        line.meter,
        line.customer_no,
        line.account_month as month,
        line.charge_kind,
        line.due_on,
        line.amount,
        paid_part(whole.before, share_from, share_to) + paid_part(own.before, own_from, own_to) as paid_before,
        paid_part(whole.until, share_from, share_to) + paid_part(own.until, own_from, own_to) as paid_until,
        coalesce(whole.before, 0) not in (0, bill_amount) or coalesce(whole.until, 0) not in (0, bill_amount) as is_partly
    from bill_charge as line
    join open_bill using (bill_no)
    left join paid as whole on whole.bill_no = line.bill_no and whole.charge_kind is null
    left join paid as own on own.bill_no = line.bill_no and own.charge_kind = line.charge_kind
    where line.account_month < $next_month"""


def _split(name: str, value: str, condition: str = "true") -> str:
    """A sum over lines, and its parts for water and drainage."""
    parts = {"": "true", "_water": "charge_kind = 'water'", "_drainage": "charge_kind = 'drainage'"}
    return ",\n        ".join(f"sum({value}) filter (where {condition} and {part}) as {name}{end}" for end, part in parts.items())


def _ages() -> str:
    bounds = {"0_months": (0, 0), "1_to_3_months": (1, 3), "4_to_6_months": (4, 6), "7_to_12_months": (7, 12)}
    listed = [
        f"sum(amount - paid_until) filter (where date_diff('month', month, $month) between {low} and {high}) as age_{name}"
        for name, (low, high) in bounds.items()
    ]
    return ",\n        ".join(
        [*listed, "sum(amount - paid_until) filter (where date_diff('month', month, $month) > 12) as age_over_12_months"]
    )


ROWS = f"""
with paid as (
    select bill_no, charge_kind, sum(amount) filter (where paid_on < $month) as before, sum(amount) as until
    from charged_payment
    where paid_on < $next_month
    group by all
),

known_bill as (
    select bill_no, sum(amount) as bill_amount, max(account_month) as account_month
    from bill_charge
    where account_month < $next_month
    group by bill_no
),

-- A bill of an earlier month that was paid to the cent before this one, and not since, adds nothing.
open_bill as (
    select bill_no, bill_amount
    from known_bill
    left join (
        select bill_no, sum(before) as before, sum(until) as until, bool_or(charge_kind is not null) as is_named
        from paid
        group by bill_no
    ) using (bill_no)
    where account_month = $month or coalesce(before, 0) <> bill_amount or until is distinct from before or is_named
),

lines as ({LINES}
),

owed as (
    select
        meter,
        customer_no,
        {_split("billed", "amount", "month = $month")},
        {_split("opening", "amount - paid_before", "month < $month")},
        {_split("received", "paid_until - paid_before")},
        {_split("closing", "amount - paid_until")},
        sum(paid_until - paid_before) filter (where month = $month) as received_current,
        sum(paid_until - paid_before) filter (where month < $month) as received_arrears,
        -sum(paid_before) filter (where month = $month) as adjustment,
        sum(amount - paid_until) filter (where due_on < $next_month) as overdue,
        {_ages()},
        count(distinct bill_no) filter (where is_partly) as bills_shared
    from lines
    group by all
),

-- Of a later month, of a cancelled bill, or of none that billing has.
others as (
    select '' as meter, customer_no, sum(amount) as received, sum(amount) as received_other, sum(amount) as adjustment
    from charged_payment
    anti join known_bill using (bill_no)
    where paid_on >= $month and paid_on < $next_month
    group by all
),

billed as (
    select
        meter,
        customer_no,
        count(*) as bills,
        count(*) filter (where estimated) as bills_estimated,
        count(days_to_issue) as bills_issued,
        sum(days_to_issue) as days_to_issue,
        sum(billed_m3 order by bill_no) as volume_m3,
        sum(billed_m3 order by bill_no) filter (where estimated) as estimated_m3
    from bill
    where account_month = $month and state <> 'cancelled'
    group by all
),

own as (
    select
        meter,
        customer_no,
        1 as meters,
        cast(state = 'read' as integer) as meters_read,
        cast(state = 'estimated' as integer) as meters_estimated,
        cast(state = 'not_due' as integer) as meters_not_due
    from meter_month
    where month = $month
),

unit as (
    select meter, coalesce(customer_no, '') as customer_no, * exclude (meter, customer_no)
    from (
        select * from own
        union all by name select * from billed
        union all by name select * from owed
        union all by name select * from others
    )
),

state_of_card as (
    select meter_no, book_no from (
        select meter_no, book_no, first_day from billing.meter_card_history where first_day is null or first_day < $next_month
        union all
        select meter_no, book_no, null from billing.meter_card
        where meter_no not in (select meter_no from billing.meter_card_history)
    )
    qualify row_number() over (partition by meter_no order by first_day desc nulls last) = 1
),

state_of_customer as (
    select customer_no, industry, region, group_no from (
        select customer_no, industry, region, group_no, first_day from billing.customer_history
        where first_day is null or first_day < $next_month
        union all
        select customer_no, industry, region, group_no, null from billing.customer
        where customer_no not in (select customer_no from billing.customer_history)
        union all
        select customer_no, industry, region, null, null from registry.customers
        where customer_no not in (select customer_no from billing.customer)
    )
    qualify row_number() over (partition by customer_no order by first_day desc nulls last) = 1
),

related as (
    select meter, kind, code
    from relation
    where coalesce(valid_from < $next_month, true) and coalesce(valid_to >= $next_month, true)
    qualify kind in {OVERLAPPING} or row_number() over (partition by meter, kind order by valid_from desc nulls last, code) = 1
),

place as (
    select distinct unit.meter, unit.customer_no, book_no, industry, region, group_no
    from unit
    left join state_of_card on meter_no = unit.meter
    left join state_of_customer as customer on customer.customer_no = unit.customer_no
),

given as (
    -- What a relation has comes before what billing has.
    select meter, customer_no, kind, code from place join related using (meter)
    union
    select meter, customer_no, kind, code
    from (
        select
            meter,
            customer_no,
            unnest(['book', 'industry', 'region', 'group']) as kind,
            unnest([book_no, industry, region, group_no]) as code
        from place
    )
    anti join related using (meter, kind)
    where code is not null
),

kinds as (
    select kind from given
    union
    select unnest(['book', 'industry', 'region', 'group'])
),

member as (
    select meter, customer_no, 'all' as kind, 'all' as code from place
    union all
    select * from given
    union all
    select meter, customer_no, kind, 'none' from place cross join kinds anti join given using (meter, customer_no, kind)
),

-- A meter that is active no more is what it was when it was seen last.
measured as (
    select meter, arg_max(source, month) as source, arg_max(vendor, month) as vendor
    from meter_month
    where month <= $month
    group by meter
),

classed as (
    select
        kind,
        code,
        coalesce(source, 'manual') as source,
        coalesce(vendor, '') as vendor,
        unit.* exclude (meter)
    from unit
    join member using (meter, customer_no)
    left join measured using (meter)
),

-- A customer with meters of several sources counts once, with the best of them.
customers as (
    select
        kind,
        code,
        arg_min(
            struct_pack(source := source, vendor := vendor),
            (meters is null, list_position(['smart', 'amr', 'manual'], source), vendor)
        ) as best,
        bool_or(meters is not null) as has_meter,
        coalesce(sum(received), 0) <> 0 as has_paid
    from classed
    where customer_no <> ''
    group by kind, code, customer_no
),

counted as (
    select
        kind,
        code,
        best.source as source,
        best.vendor as vendor,
        count(*) filter (where has_meter) as customers,
        count(*) filter (where has_paid) as payers
    from customers
    group by all
),

summed as (
    select kind, code, source, vendor, {", ".join(f"sum({name}) as {name}" for name in SUMS)}
    from classed
    group by all
)

select
    $month as month,
    kind,
    code,
    source,
    vendor,
    coalesce(customers, 0) as customers,
    coalesce(payers, 0) as payers,
    {", ".join(f"{name if name in MAY_LACK else f'coalesce({name}, 0)'} as {name}" for name in SUMS)},
    least(current_date, $next_month - 1) as as_of,
    $first_made_on as first_made_on
from summed
full join counted using (kind, code, source, vendor)
order by all"""
"""The rows of a month (`$month`, `$next_month`)."""


CLASSES = """
create or replace temp macro month_end_classes() as table
select * from month_end where kind <> 'all'
union all
select total.* replace (kinds.kind as kind)
from month_end as total
join (select distinct month, kind from month_end where kind <> 'all') as kinds using (month)
where total.kind = 'all'"""


def ensure(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table where it is absent, one of an earlier version keeps its rows; its rows with the total among the classes of
    each kind (`month_end_classes`), and the names of the classes (`class_zh`, `class_en`)."""
    warehouse.ensure(connection, "month_end", ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items()))
    connection.execute(CLASSES).fetchall()
    for language, total, none in (("zh", "合计", "未归类"), ("en", "Total", "No class")):
        connection.execute(
            f"create or replace temp macro class_{language}(code, word) as "
            f"case code when 'all' then '{total}' when 'none' then '{none}' else coalesce(word, code) end"
        ).fetchall()


def make(connection: duckdb.DuckDBPyConnection) -> int:
    """Replace the rows of the touched months that are open, and add the kinds that a closed one lacks. Gives the rows written."""
    connection.execute(CHARGED_PAYMENT).fetchall()
    months = connection.execute("select month, next_month from touched_account order by month").fetchall()
    return sum(_make_month(connection, *period) for period in months)


def _make_month(connection: duckdb.DuckDBPyConnection, month: date, next_month: date) -> int:
    """In one transaction. A month that is made long after its end, as the history of a new site, stays open as long as others."""
    ((first_made_on, is_closed),) = connection.execute(
        "select coalesce(min(first_made_on), current_date) as made_on, "
        "greatest(made_on, $next_month) + cast(criterion('revenue.open_days', $month) as integer) <= current_date "
        "from month_end where month = $month",
        {"month": month, "next_month": next_month},
    ).fetchall()
    if is_closed and not _lacks_kinds(connection, month, next_month):
        return 0
    kept = "select kind from month_end where month = $month" if is_closed else "select '' where $month is null"
    with warehouse.transaction(connection):
        if not is_closed:
            connection.execute("delete from month_end where month = $month", {"month": month}).fetchall()
        ((written,),) = connection.execute(
            f"insert into month_end by name select * from ({ROWS}) where kind not in ({kept})",
            {"month": month, "next_month": next_month, "first_made_on": first_made_on},
        ).fetchall()
    return int(written)


def _lacks_kinds(connection: duckdb.DuckDBPyConnection, month: date, next_month: date) -> bool:
    """Whether a relation of the month is of a kind that its rows do not have."""
    query = (
        "select count(*) from (select kind from relation where coalesce(valid_from < $next_month, true) "
        "and coalesce(valid_to >= $next_month, true) except select kind from month_end where month = $month)"
    )
    return bool(connection.execute(query, {"month": month, "next_month": next_month}).fetchall()[0][0])
