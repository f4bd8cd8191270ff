/*
zh: 水表匹配分析表
en: Meter fit report
description: Whether each meter fits the flows that it has, by the zones of its Q1 to Q4, with the conclusion in words.
grain: [meter, month]
deps: [meter_fit, meter]
period: month
columns:
  customer_name: {width: 24}
  meter: {width: 12}
  month: {width: 9}
  dn_mm: {width: 7}
  q3_m3h: {width: 10}
  flow_p99_m3h: {width: 10}
  utilisation: {width: 8}
  time_zero: {width: 9}
  time_below_q1: {width: 9}
  time_q1_q2: {width: 9}
  time_q2_q3: {width: 9}
  time_q3_q4: {width: 9}
  time_above_q4: {width: 9}
  fit_class:
    width: 11
    values:
      over: [偏大, too large]
      under: [偏小, too small]
      fit: [合适, fits]
      not_resolvable: [分辨力不足, not resolvable]
      too_few_days: [天数不足, too few days]
      unknown: [参数不全, unknown]
  conclusion: {zh: 结论, en: Conclusion, unit: "", description: The conclusion with its numbers., width: 60}
layout: {kind: list, frozen: 2}
csv: [meter, month, customer_name, dn_mm, q3_m3h, flow_p99_m3h, utilisation, time_zero, time_below_q1, time_q1_q2, time_q2_q3, time_q3_q4, time_above_q4, fit_class, conclusion]
*/
select
    meter.customer_name,
    meter_fit.meter,
    month,
    meter_fit.dn_mm,
    meter_fit.q3_m3h,
    flow_p99_m3h,
    utilisation,
    time_zero,
    time_below_q1,
    time_q1_q2,
    time_q2_q3,
    time_q3_q4,
    time_above_q4,
    fit_class,
    if($language = 'zh', conclusion_zh, conclusion_en) as conclusion
from meter_fit
left join meter using (meter)
where month >= date_trunc('month', $first_day::date) and month <= $last_day::date
order by meter.customer_no nulls last, meter_fit.meter, month
