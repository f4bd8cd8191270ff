/*
zh: 主要营收指标表
en: Main indicators
description: The eighteen lines of the main indicators of a month beside the month before and the same month of last year.
grain: [month, line]
deps: [revenue_kpi]
period: month
columns:
  month: {width: 9}
  line: {width: 6}
  item: {width: 7}
  name: {zh: 汇总内容, en: Indicator, unit: "", description: What the line counts., width: 26}
  value_unit: {width: 7}
  value: {width: 16}
  previous: {width: 16}
  change_pct: {width: 10}
  last_year: {width: 16}
  yoy_pct: {width: 10}
  note: {zh: 说明, en: Note, unit: "", description: "What the line counts, and why it is empty.", width: 44}
layout: {kind: list, frozen: 4}
csv: [month, line, item, name, value_unit, value, previous, change_pct, last_year, yoy_pct, note]
*/
select
    month,
    line,
    item,
    if($language = 'zh', name_zh, name_en) as name,
    value_unit,
    value,
    previous,
    change_pct,
    last_year,
    yoy_pct,
    if($language = 'zh', note_zh, note_en) as note
from revenue_kpi
where month >= date_trunc('month', $first_day::date) and month <= $last_day::date
order by month, line
