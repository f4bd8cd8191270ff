/*
zh: 预测回测
group: metrics
description: >-
  How the forecasts of a month have fitted: each day's first 24 hours, forecast from the days before, against what was measured, and against the
  forecast that every hour is like the same hour a week before.
grain: [meter, month]
deps: [forecast_hour]
partitions: forecast_month
columns:
  meter:
  month:
  share_in_band: {zh: 带内占比, en: Share in band, unit: "", format: "0%", description: Share of the hours that lay within the band; 0.8 is meant.}
  pinball_m3h: {zh: 预测分位损失, en: Pinball loss, unit: m³/h, description: "Mean pinball loss of P10, P50 and P90; smaller is better."}
  pinball_last_week_m3h: {zh: 上周同时分位损失, en: Pinball loss of last week, unit: m³/h, description: The same loss had every hour been forecast as the same hour a week before.}
  hours: {zh: 小时数, en: Hours, unit: h, format: "0", description: "Hours that count: measured, forecast, and measured a week before."}
*/
select
    meter,
    cast(date_trunc('month', day) as date) as month,
    sum(hours_in_band) / sum(hours) as share_in_band,
    sum(pinball_m3 order by day) / sum(hours) as pinball_m3h,
    sum(pinball_last_week_m3 order by day) / sum(hours) as pinball_last_week_m3h,
    cast(sum(hours) as bigint) as hours
from forecast_day
where date_trunc('month', day) in (select month from touched_forecast_month)
group by meter, date_trunc('month', day)
