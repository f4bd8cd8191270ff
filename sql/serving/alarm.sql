/*
zh: 报警
group: alarms
description: >-
  Every alarm in event time: when its condition held, the peak of its value, who found it (origin device, server or both), who acknowledged it and why. An
  alarm that later data took back stays, with the time at which it was.
grain: [alarm_id]
deps: [latest_figures]
columns:
  alarm_id: {zh: 报警号, en: Alarm no., unit: "", format: "0", description: Number of the alarm.}
  meter:
  code: {zh: 报警, en: Alarm, unit: "", description: Code of the alarm.}
  severity: {zh: 级别, en: Severity, unit: "", description: "info, maintenance, warning or critical."}
  origin: {zh: 来源, en: Origin, unit: "", description: "Who found it: device, server or both."}
  raised_at: {zh: 发生时间, en: Raised, unit: "", format: "yyyy-mm-dd hh:mm", description: Event time from which the condition held.}
  cleared_at: {zh: 恢复时间, en: Cleared, unit: "", format: "yyyy-mm-dd hh:mm", description: Event time from which it held no more; empty while it does.}
  retracted_at: {zh: 撤销时间, en: Taken back, unit: "", format: "yyyy-mm-dd hh:mm", description: When later data showed that there was no such alarm.}
  peak_value: {zh: 峰值, en: Peak, unit: "", format: "0.###", description: Value farthest beyond the limit; its unit stands in the column unit.}
  limit_value: {zh: 限值, en: Limit, unit: "", format: "0.###", description: Limit at that time; its unit stands in the column unit.}
  unit: {zh: 单位, en: Unit, unit: "", description: Unit of value and limit.}
  acknowledged_by: {zh: 确认人, en: Acknowledged by, unit: "", description: Who acknowledged it.}
  acknowledged_at: {zh: 确认时间, en: Acknowledged, unit: "", format: "yyyy-mm-dd hh:mm", description: When it was acknowledged.}
  cause: {zh: 原因, en: Cause, unit: "", description: Cause that was given as a code of the vocabulary.}
  note: {zh: 备注, en: Note, unit: "", description: Note of who acknowledged it.}
  customer_no:
  customer_name:
  first_seen_at: {zh: 获知时间, en: First known, unit: "", format: "yyyy-mm-dd hh:mm", description: When it became known.}
  settled_at: {zh: 获知结束时间, en: Settled, unit: "", format: "yyyy-mm-dd hh:mm", description: When it was known to be over or was taken back; empty while it is open.}
*/
select
    alarm_id,
    meter,
    code,
    severity,
    origin,
    raised_at,
    cleared_at,
    retracted_at,
    peak_value,
    limit_value,
    unit,
    acknowledged_by,
    acknowledged_at,
    cause,
    note,
    customer_no,
    customer_name,
    first_seen_at,
    settled_at
from ops.alarm
