/*
zh: 缺数台账
group: quality
description: >-
  Holes in the data of each meter, longer than the curve is drawn over, and silences that last: when each was seen first, whether its readings were
  asked for, until when the logger has them (criterion gap.memory_days), and whether they came. A closed hole stays.
grain: [meter, from_at]
deps: [gap_ledger]
partitions: gap
columns:
  meter:
  from_at: {zh: 缺数开始, en: From, unit: "", format: "yyyy-mm-dd hh:mm", description: Last known instant before the hole.}
  to_at: {zh: 缺数结束, en: To, unit: "", format: "yyyy-mm-dd hh:mm", description: "First known instant after it; empty: the meter is silent."}
  intervals: {zh: 缺失读数, en: Missing readings, unit: "", format: "#,##0", description: Readings that the meter's step leads to expect within; empty where it has no end.}
  first_seen_at: {zh: 首次发现, en: First seen, unit: "", format: "yyyy-mm-dd hh:mm", description: When a run found it first.}
  state: {zh: 状态, en: State, unit: "", description: "open, asked, closed (the readings came) or expired (the logger has overwritten all of it)."}
  terminal:
  day: {description: Local day of its end; of its beginning where it has none.}
  asked_at: {zh: 补召时间, en: Asked, unit: "", format: "yyyy-mm-dd hh:mm", description: When its readings were asked for first; empty where they were not.}
  deadline_at: {zh: 补采期限, en: Deadline, unit: "", format: "yyyy-mm-dd hh:mm", description: When the logger begins to overwrite its readings.}
  closed_at: {zh: 关闭时间, en: Closed, unit: "", format: "yyyy-mm-dd hh:mm", description: When a run found its readings.}
  state_zh: {zh: 状态说明, en: State (Chinese), unit: "", description: The state in Chinese.}
  state_en: {zh: 状态说明（英文）, en: State in words, unit: "", description: The state in English.}
*/
select
    meter,
    from_at,
    to_at,
    intervals,
    first_seen_at,
    state,
    terminal,
    day,
    asked_at,
    deadline_at,
    closed_at,
    case state when 'open' then '未补' when 'asked' then '已召测' when 'closed' then '已补齐' else '已过期' end as state_zh,
    case state when 'open' then 'Open' when 'asked' then 'Asked' when 'closed' then 'Closed' else 'Expired' end as state_en
from gap_ledger
join touched_gap using (day)
