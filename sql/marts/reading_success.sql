/*
zh: 远传抄表成功率
group: quality
description: >-
  How many of the meters in service on a day were read within the window of days that ends with it (criterion reading.window_days): a reading taken
  in these days had come by the end of the day. Data that come later change nothing; manual meters do not count.
grain: [day]
deps: [delivery_day, quality_score, criterion]
partitions: success
columns:
  day: {description: Last day of the window.}
  window_days: {zh: 窗口天数, en: Window, unit: "", format: "0", description: Days of the window.}
  meters: {description: Meters in service on the day.}
  meters_read: {zh: 已读水表数, en: Meters read, unit: "", format: "#,##0", description: Meters with a reading of the window that had come by its end.}
  share: {zh: 成功率, en: Success, unit: "", format: "0.0%", description: Share of the meters that were read.}
  target_share: {zh: 目标, en: Target, unit: "", format: "0.0%", description: Share that is the target (criterion reading.target_share).}
  met: {zh: 达标, en: Met, unit: "", description: The share reaches the target.}
*/
with wanted as (
    select day, window_days, criterion('reading.target_share', day) as target_share
    from touched_success_day
),

received as (
    select distinct delivery_day.meter, wanted.day
    from delivery_day
    join (select day, unnest(generate_series(day - window_days + 1, day, interval 1 day))::date as read_on from wanted) as wanted
        on delivery_day.day = read_on
    where first_received_at <= (wanted.day + 1)::timestamptz
)

select
    day,
    cast(window_days as bigint) as window_days,
    count(*) as meters,
    count(received.meter) as meters_read,
    count(received.meter) / count(*) as share,
    target_share,
    count(received.meter) / count(*) >= target_share as met
from quality_score
join wanted using (day)
left join received using (meter, day)
group by day, window_days, target_share
