/*
zh: 客户与分组预测
group: metrics
description: >-
  Volume of each customer, network, region, group … and of all meters in the 72 hours from the day on which the forecast is made: the sum of the forecasts of
  the meters that belong to it then, and a band that comes from the past of that sum. Where few meters were not known in a past hour, the others stand for them.
grain: [kind, code, made_on, hour_start]
deps: [forecast_hour]
partitions: made_on
columns:
  kind: {description: "What the code stands for: customer, a kind of relation, or all."}
  code: {zh: 代码, en: Code, unit: "", description: "Customer number, code of the group, or all."}
  made_on: {zh: 预测日, en: Made on, unit: "", format: yyyy-mm-dd, description: "Day on which the forecast is made, from the days before it; its first hour is the day's first."}
  hour_start:
  p10_m3h: {zh: 低位（P10）, en: P10, unit: m³/h, description: Low end of the band.}
  p50_m3h: {zh: 预测中位, en: Forecast, unit: m³/h, description: Sum of the forecasts of its meters.}
  p90_m3h: {zh: 高位（P90）, en: P90, unit: m³/h, description: High end of the band.}
*/
select
    kind,
    code,
    made_on,
    hour_start,
    p10_m3h,
    p50_m3h,
    p90_m3h
from forecast_hour
join touched_made_on using (made_on)
where kind <> 'meter'
