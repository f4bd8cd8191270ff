/*
zh: 倒流事件
en: Reverse-flow events
workbook: {zh: 反向流量报表, en: Reverse-flow report}
description: >-
  Every reverse-flow event with volume, highest flow, pressures and what speaks for its cause, beside the cause and note that were given when its alarm was
  acknowledged; the further sheets have its course, an interval a row, and the reverse volume of each day.
grain: [meter, started_at]
deps: [reverse_event, meter, alarm]
period: month
columns:
  customer_name: {width: 22}
  meter: {width: 12}
  started_at: {width: 17}
  ended_at: {width: 17}
  volume_m3: {width: 11, total: sum}
  flow_max_m3h: {width: 11, total: max}
  pressure_before_mpa: {width: 10}
  pressure_min_mpa: {width: 10, total: min}
  pressure_after_mpa: {width: 10}
  neighbours_reversed: {width: 10}
  night: {width: 7}
  likely_cause:
    width: 12
    values:
      network: [管网波动, network]
      pumping: [违规抽水, illegal pumping]
      theft: [人为偷水, theft]
      check_valve: [止回阀故障, check valve]
      unclear: [不明, unclear]
  cause: {width: 12}
  acknowledged_by: {width: 12}
  note: {width: 24}
layout: {kind: list, frozen: 3}
csv: [meter, started_at, ended_at, customer_name, volume_m3, flow_max_m3h, pressure_before_mpa, pressure_min_mpa, pressure_after_mpa, neighbours_reversed, night, likely_cause, cause, acknowledged_by, note]
*/
with acknowledged as (
    select
        reverse_event.meter,
        started_at,
        arg_max(cause, acknowledged_at) as cause,
        arg_max(acknowledged_by, acknowledged_at) as acknowledged_by,
        arg_max(note, acknowledged_at) as note
    from reverse_event
    join alarm
        on alarm.meter = reverse_event.meter
        and alarm.code = 'Q_REV'
        and retracted_at is null
        and raised_at <= ended_at
        and coalesce(cleared_at, ended_at) >= started_at
    where acknowledged_at is not null
    group by reverse_event.meter, started_at
)

select
    meter.customer_name,
    reverse_event.meter,
    reverse_event.started_at,
    ended_at,
    volume_m3,
    flow_max_m3h,
    pressure_before_mpa,
    pressure_min_mpa,
    pressure_after_mpa,
    neighbours_reversed,
    night,
    likely_cause,
    cause,
    acknowledged_by,
    note
from reverse_event
left join acknowledged using (meter, started_at)
left join meter using (meter)
where day >= $first_day::date and day <= $last_day::date
order by reverse_event.started_at, reverse_event.meter
