/*
zh: 压力突变
en: Sudden pressure change
severity: critical
origins: [device, server]
unit: MPa
beyond: above
description: >-
  The pressure has risen or fallen within a short time by more than the limit; between two readings the server sees nothing.
value: pressure_mpa
limit: "limits.csv, else criterion alarm.pressure_jump_mpa, within alarm.pressure_jump_min"
hysteresis: "none: it is over with the first reading without a change"
shortest_intervals: 1
shortest_min: 0
deps: [interval_reading, meter_history]
partitions: day
*/
with limits as (
    select
        meter,
        day,
        coalesce(own_limit, criterion('alarm.pressure_jump_mpa', day)) as limit_mpa,
        to_seconds(60 * criterion('alarm.pressure_jump_min', day)) as within
    from alarm_scope
),

readings as (
    select meter, interval_end, pressure_mpa, is_lead, limit_mpa, coalesce(within, interval 0 minutes) as within
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
        limit_mpa,
        greatest(pressure_mpa - min(pressure_mpa) over before, max(pressure_mpa) over before - pressure_mpa) as change_mpa
    from readings
    window before as (
        partition by meter order by interval_end range between within preceding and current row
    )
)

select
    meter,
    interval_end as started_at,
    interval_end as ended_at,
    change_mpa as value,
    limit_mpa as limit_value,
    change_mpa > limit_mpa as holds
from changes
where not is_lead
