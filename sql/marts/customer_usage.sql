/*
zh: 客户用水量
group: metrics
description: >-
  Volume of each customer and local day, month and year: the sum of its meters, each counted for the days on which it was the customer's. A meter that
  was its for a whole month counts with the difference of its register. Meters read by hand have no daily volume: they make the customer incomplete.
  A customer none of whose meters was measured in the period has no row.
grain: [customer_no, grain, period]
deps: [meter_history, daily_usage, monthly_usage]
partitions: customer
columns:
  customer_no:
  grain:
  period:
  volume_m3: {description: "Sum of the volumes of its meters as far as they are known; complete says whether that is all."}
  meters: {description: Number of meters that were the customer's in the period.}
  meters_complete: {zh: 完整水表数, en: Complete meters, unit: "", format: "#,##0", description: Number of those whose every day with the customer in the period is complete.}
  complete: {description: Every meter is complete.}
  meters_manual: {zh: 人工抄表数, en: Read by hand, unit: "", format: "#,##0", description: "Number of those read by hand in the period, or in a part of it."}
*/
with marked as (
    select
        *,
        lag(last_day) over own + 1 is distinct from first_day
        or lag(customer_no) over own is distinct from customer_no
        or (lag(source) over own = 'manual') is distinct from (source = 'manual') as begins
    from meter_history
    where first_day is null or last_day is null or first_day <= last_day
    window own as (partition by meter order by first_day nulls first)
),

numbered as (
    select *, count(*) filter (where begins) over (partition by meter order by first_day nulls first) as number
    from marked
),

stays as (
    -- A customer's time with a meter, whatever terminals and sizes it had.
    select
        meter,
        any_value(customer_no) as customer_no,
        any_value(source) = 'manual' as is_manual,
        min(coalesce(first_day, date '0001-01-01')) as first_day,
        max(coalesce(last_day, date '9999-12-30')) as last_day
    from numbered
    where customer_no is not null
    group by meter, number
),

months as (
    select cast(unnest(generate_series(period, next - 1, interval 1 month)) as date) as month
    from touched_customer
    where grain = 'year'
),

months_owned as (
    select
        stays.*,
        month,
        cast(month + interval 1 month as date) - 1 as month_end,
        stays.first_day <= month and stays.last_day >= cast(month + interval 1 month as date) - 1 as is_whole
    from stays
    join months on stays.first_day < month + interval 1 month and stays.last_day >= month
),

parts_of_months as (
    select
        owned.meter,
        owned.month,
        owned.first_day,
        sum(volume_m3 order by day) as volume_m3,
        count(*) filter (where complete) = any_value(least(last_day, month_end) - greatest(owned.first_day, owned.month)) + 1 as complete
    from months_owned as owned
    join daily_usage on daily_usage.meter = owned.meter
        and day between greatest(owned.first_day, owned.month) and least(last_day, month_end)
    where not is_whole and not is_manual
    group by owned.meter, owned.month, owned.first_day
),

monthly as (
    select
        owned.*,
        case when is_whole then coalesce(whole.volume_m3, whole.measured_m3) else part.volume_m3 end as volume_m3,
        case when is_whole then whole.complete else part.complete end as complete
    from months_owned as owned
    left join monthly_usage as whole on is_whole and whole.meter = owned.meter and whole.month = owned.month
    left join parts_of_months as part on part.meter = owned.meter and part.month = owned.month and part.first_day = owned.first_day
),

parts as (
    select customer_no, grain, period, stays.meter, is_manual, volume_m3, complete, stays.first_day
    from stays
    join touched_customer on grain = 'day' and period between stays.first_day and stays.last_day
    left join daily_usage on daily_usage.meter = stays.meter and day = period
    union all
    select customer_no, grain, period, meter, is_manual, volume_m3, complete, greatest(first_day, month)
    from monthly
    join touched_customer on grain <> 'day' and month >= period and month < next
)

select
    customer_no,
    grain,
    period,
    sum(volume_m3 order by meter, first_day) as volume_m3,
    count(distinct meter) as meters,
    count(distinct meter) - count(distinct meter) filter (where complete is distinct from true) as meters_complete,
    bool_and(complete is not distinct from true) as complete,
    count(distinct meter) filter (where is_manual) as meters_manual
from parts
group by customer_no, grain, period
having count(complete) > 0
