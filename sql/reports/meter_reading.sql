/*
zh: 抄表开账情况表
en: Meter reading and billing
description: Meters, reads, rates, billed volume and amount of each month by class; code all is the total of every meter.
grain: [month, kind, code]
deps: [reading_status]
period: month
columns:
  month: {width: 9}
  kind: {width: 11}
  code: {width: 12}
  name: {zh: 分类名称, en: Class name, unit: "", description: Name of the class., width: 24}
  meters: {width: 9}
  meters_read: {width: 9}
  reading_rate_pct: {width: 9}
  meters_estimated: {width: 9}
  meters_unread: {width: 9}
  auto_read_pct: {width: 10}
  volume_m3: {width: 13}
  amount: {width: 14}
  days_to_issue: {width: 10}
layout: {kind: list, frozen: 4}
csv: [month, kind, code, name, meters, meters_read, reading_rate_pct, meters_estimated, meters_unread, auto_read_pct, volume_m3, amount, days_to_issue]
*/
select
    month,
    kind,
    code,
    if($language = 'zh', name_zh, name_en) as name,
    meters,
    meters_read,
    reading_rate_pct,
    meters_estimated,
    meters_unread,
    auto_read_pct,
    volume_m3,
    amount,
    days_to_issue
from reading_status
where month >= date_trunc('month', $first_day::date) and month <= $last_day::date
order by month, kind, code <> 'all', code
