/*
zh: 月用水量
group: usage
description: >-
  Volume of each meter and local month: the difference of the register curve between the month's ends (of a flow meter the sum of its days);
  measured_m3 is the sum of the days that are known, mean_day_m3 the mean of the complete ones.
grain: [meter, month]
deps: [daily_usage, register_month, meter]
partitions: month
columns:
  meter:
  month:
  volume_m3: {description: Volume of the month as the difference of the register curve; empty where an end of the month is not known.}
  measured_m3:
  days_complete:
  complete:
  clean:
  days_in_month: {zh: 当月天数, en: Days in month, unit: "", format: "0", description: Days that the month has.}
  mean_day_m3: {zh: 日均水量, en: Mean day volume, unit: m³, description: Mean volume of the complete days.}
  reverse_m3:
  coverage: {description: "Share of the month in which the curve is known, 0 to 1: the mean of its days."}
*/
with months as (
    select
        daily_usage.meter,
        touched_month.month,
        any_value(date_diff('day', touched_month.month, cast(touched_month.month + interval 1 month as date))) as days_in_month,
        sum(volume_m3 order by day) as measured_m3,
        sum(reverse_m3 order by day) as reverse_m3,
        count(*) filter (where complete) as days_complete,
        avg(volume_m3 order by day) filter (where complete) as mean_day_m3,
        bool_and(clean) as clean,
        sum(coverage order by day) as days_known
    from daily_usage
    join touched_month on day >= month and day < month + interval 1 month
    group by all
)

select
    months.meter,
    month,
    case when reads = 'flow' then measured_m3 else register_month.volume_m3 end as volume_m3,
    measured_m3,
    days_complete,
    days_complete = days_in_month as complete,
    clean,
    days_in_month,
    mean_day_m3,
    reverse_m3,
    days_known / days_in_month as coverage
from months
join meter using (meter)
left join register_month using (meter, month)
