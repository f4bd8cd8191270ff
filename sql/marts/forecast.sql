/*
zh: 用水量预测
group: metrics
description: >-
  Volume of each meter in the 72 hours from the day on which the forecast is made, with the band that should hold four of five hours. Made from the
  days before (docs/domain.md#forecast); kept for criterion forecast.kept_days. A meter that has not been measured lately has none.
grain: [meter, made_on, hour_start]
deps: [forecast_hour]
partitions: made_on
columns:
  meter:
  made_on: {zh: 预测日, en: Made on, unit: "", format: yyyy-mm-dd, description: "Day on which the forecast is made, from the days before it; its first hour is the day's first."}
  hour_start:
  p10_m3h: {zh: 低位（P10）, en: P10, unit: m³/h, description: Low end of the band.}
  p50_m3h: {zh: 预测中位, en: Forecast, unit: m³/h, description: Middle of the forecast; half of the hours are above.}
  p90_m3h: {zh: 高位（P90）, en: P90, unit: m³/h, description: High end of the band.}
*/
select
    code as meter,
    made_on,
    hour_start,
    p10_m3h,
    p50_m3h,
    p90_m3h
from forecast_hour
join touched_made_on using (made_on)
where kind = 'meter'
