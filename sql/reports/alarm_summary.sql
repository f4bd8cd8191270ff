/*
zh: 报警统计表
en: Alarm statistics
description: >-
  Alarms of each month by what they concern and by code, with those that are open and the mean times until they were over and acknowledged.
grain: [month, kind, code, alarm_code]
deps: [alarm_statistics]
period: month
columns:
  month: {width: 9}
  kind: {width: 12}
  code: {width: 16}
  alarm_code: {width: 12}
  alarms: {width: 10}
  open: {width: 10}
  mean_minutes_open: {width: 14, format: "0.0"}
  mean_minutes_to_acknowledge: {width: 16, format: "0.0"}
layout: {kind: list, by: [month, kind], frozen: 4}
csv: [month, kind, code, alarm_code, alarms, open, mean_minutes_open, mean_minutes_to_acknowledge]
*/
select
    month,
    kind,
    code,
    alarm_code,
    alarms,
    open,
    mean_minutes_open,
    mean_minutes_to_acknowledge
from alarm_statistics
where month >= date_trunc('month', $first_day::date) and month <= $last_day::date
order by month, kind <> 'all', kind, code, alarm_code
