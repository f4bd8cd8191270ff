/*
zh: 数据质量差
en: Poor data quality
severity: maintenance
origins: [server]
unit: ""
beyond: below
description: >-
  The quality score of a day that is over is below the limit. A day without any reading is NO_DATA, not this.
limit: coalesce(own_limit, criterion('alarm.quality_score', day))
hysteresis: criterion('alarm.quality_hysteresis', day)
shortest_intervals: 1
shortest_min: 0
deps: [quality_score, meter_history]
partitions: review
*/
select
    meter,
    starts_at as started_at,
    ends_at as ended_at,
    score as value,
    limit_value,
    is_beyond(score, limit_value, hysteresis) as holds
from quality_score
join alarm_scope using (meter, day)
where readings > 0 and ends_at <= alarm_now()
