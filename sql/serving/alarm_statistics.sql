/*
zh: 报警统计
group: alarms
description: >-
  Alarms of a month (of their event time, local) by code and by what they concern: all, a customer, a kind of relation (region, industry, network …) as it
  was then, a cause. What was taken back does not count. Times are means over those that are over, or acknowledged; an alarm that nobody has
  acknowledged is in none.
grain: [month, kind, code, alarm_code]
deps: [relation]
columns:
  month:
  kind:
  code: {zh: 代码, en: Code, unit: "", description: "Code within its kind; empty where kind is all, or the alarm has none."}
  alarm_code: {zh: 报警, en: Alarm, unit: "", description: Code of the alarm.}
  alarms: {zh: 报警数, en: Alarms, unit: "", format: "#,##0", description: Alarms that began in the month.}
  open: {zh: 未恢复, en: Open, unit: "", format: "#,##0", description: Of them those that are not over.}
  mean_minutes_open: {zh: 平均持续, en: Mean duration, unit: min, description: Mean time from raised to cleared.}
  mean_minutes_to_acknowledge: {zh: 平均确认用时, en: Mean time to acknowledge, unit: min, description: Mean time from when the alarm became known to its acknowledgement.}
*/
with rows_of as (
    select
        *,
        cast(date_trunc('month', raised_at at time zone '{zone}') as date) as month,
        cast(raised_at at time zone '{zone}' as date) as day
    from ops.alarm
    where retracted_at is null
),

members as (
    select alarm_id, 'all' as kind, '' as of_code from rows_of
    union all
    select alarm_id, 'customer', coalesce(customer_no, '') from rows_of
    union all
    select alarm_id, 'cause', coalesce(cause, '') from rows_of where acknowledged_at is not null
    union all
    select alarm_id, relation.kind, relation.code
    from rows_of
    join relation
        on relation.meter = rows_of.meter
        and (relation.valid_from is null or relation.valid_from <= day)
        and (relation.valid_to is null or relation.valid_to > day)
)

select
    month,
    kind,
    of_code as code,
    code as alarm_code,
    count(*) as alarms,
    count(*) filter (where cleared_at is null) as open,
    avg(extract(epoch from cleared_at - raised_at) / 60.0) as mean_minutes_open,
    avg(extract(epoch from acknowledged_at - first_seen_at) / 60.0) as mean_minutes_to_acknowledge
from rows_of
join members using (alarm_id)
group by month, kind, of_code, code
