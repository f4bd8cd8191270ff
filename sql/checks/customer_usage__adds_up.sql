/*
zh: 客户水量合计等于水表合计
description: The customers' volumes of a day add up to those of the meters that were any customer's.
severity: fail
because: a meter counts for two customers, or for none
deps: [meter_history]
*/
with owned as (
    select day, sum(volume_m3 order by daily_usage.meter) as volume_m3
    from daily_usage
    where day in (select period from touched_customer where grain = 'day')
        and exists (
            select 1 from meter_history as history
            where history.meter = daily_usage.meter and customer_no is not null
                and daily_usage.day between coalesce(first_day, daily_usage.day) and coalesce(last_day, daily_usage.day)
        )
    group by day
),

added as (
    select period as day, sum(volume_m3 order by customer_no) as volume_m3
    from customer_usage
    where grain = 'day' and period in (select period from touched_customer where grain = 'day')
    group by period
)

select day, owned.volume_m3 as meters_m3, added.volume_m3 as customers_m3
from owned
left join added using (day)
where abs(owned.volume_m3 - coalesce(added.volume_m3, 0)) > 0.0005
