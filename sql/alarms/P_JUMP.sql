/*
zh: 压力突变
en: Pressure jump
severity: critical
origins: [device, server]
unit: MPa
beyond: above
description: >-
  The pressure has risen or fallen within a short time by more than the limit; between two readings the server sees nothing.
value: pressure_mpa
limit: coalesce(own_limit, criterion('alarm.pressure_jump_mpa', day))
shortest_intervals: 1
shortest_min: 0
deps: [interval_reading, meter_history]
partitions: day
only: >-
  select alarm_scope.meter from alarm_scope
  join unit_day on unit_day.meter = alarm_scope.meter and unit_day.day between alarm_scope.day - 1 and alarm_scope.day
  group by alarm_scope.meter, alarm_scope.day
  having max(pressure_max_pa) - min(pressure_min_pa) > 1e6 * any_value(limit_value)
*/
with limits as (
    select meter, day, limit_value, to_seconds(60 * criterion('alarm.pressure_jump_min', day)) as within from alarm_scope
),

readings as (
    select meter, interval_end, pressure_mpa, is_lead, limit_value, coalesce(within, interval 0 minutes) as within
    from alarm_sample
    left join limits using (meter, day)
    where pressure_mpa is not null
),

-- Against the readings before, of the neighbouring days as well: a change may begin before midnight.
changes as (
    select
        meter,
        interval_end,
        is_lead,
        limit_value,
        greatest(pressure_mpa - min(pressure_mpa) over before, max(pressure_mpa) over before - pressure_mpa) as change_mpa
    from readings
    window before as (partition by meter order by interval_end range between within preceding and current row)
)

select
    meter,
    interval_end as started_at,
    interval_end as ended_at,
    change_mpa as value,
    limit_value,
    change_mpa > limit_value as holds
from changes
where not is_lead
