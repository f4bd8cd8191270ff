/*
zh: 生产班制
group: metrics
description: >-
  How a customer works in a month, from the shape of its complete work days: day (one shift), two, three, continuous (day and night, also on days of
  rest) or irregular, with the evidence (criteria shift.*). Holidays and days of exchange are those of the calendar.
grain: [meter, month]
deps: [daily_pattern, daily_usage, calendar]
partitions: month
columns:
  meter:
  month:
  shift_type: {zh: 班制, en: Shift type, unit: "", description: "day, two, three, continuous or irregular; empty where too few work days are complete."}
  work_days: {zh: 工作日数, en: Work days, unit: "", format: "0", description: Complete work days of the month.}
  hours_active: {zh: 开工小时数, en: Active hours, unit: h, format: "0.0", description: Median of the active hours of work days.}
  centre_h: {zh: 用水重心, en: Centre of use, unit: h, format: "0.0", description: Median of the mean clock hour of the volume of work days.}
  centre_spread_h: {zh: 重心离差, en: Spread of the centre, unit: h, format: "0.0", description: Median deviation of that hour between work days.}
  volume_spread: {zh: 日水量离差, en: Spread of the volume, unit: "", format: "0.00", description: Median deviation of the volumes of work days over their median.}
  load_factor: {zh: 负荷率, en: Load factor, unit: "", format: "0.00", description: "Median of the mean hour over the highest of work days, 0 to 1."}
  night_share: {zh: 夜间占比, en: Night share, unit: "", format: "0.0%", description: "Median share of the volume from 0 to 6 o'clock of work days."}
  rest_share: {zh: 休息日比, en: Rest share, unit: "", format: "0.00", description: Median volume of days of rest and holidays over that of work days.}
  peak_hours: {zh: 高峰小时, en: Peak hours, unit: "", description: "The three clock hours that are most often among a work day's three busiest, in order of the day."}
*/
with days as (
    select
        daily_usage.meter,
        touched_month.month,
        coalesce(day_kind, case when isodow(day) > 5 then 'rest' else 'work' end) = 'work' as is_work,
        volume_m3,
        hours_active,
        centre_h,
        load_factor,
        night_share,
        peak_hours
    from daily_usage
    join touched_month on day >= touched_month.month and day < touched_month.month + interval 1 month
    left join daily_pattern using (meter, day)
    left join calendar using (day)
    where complete
),

evidence as (
    select
        meter,
        month,
        count(*) filter (where is_work) as work_days,
        median(hours_active) filter (where is_work) as hours_active,
        median(centre_h) filter (where is_work) as centre_h,
        mad(centre_h) filter (where is_work) as centre_spread_h,
        mad(volume_m3) filter (where is_work) / nullif(median(volume_m3) filter (where is_work), 0) as volume_spread,
        median(load_factor) filter (where is_work) as load_factor,
        median(night_share) filter (where is_work) as night_share,
        median(volume_m3) filter (where not is_work) / nullif(median(volume_m3) filter (where is_work), 0) as rest_share
    from days
    group by meter, month
),

peaks as (
    select meter, month, cast(hour as integer) as hour, count(*) as times
    from (select meter, month, unnest(string_split(peak_hours, ', ')) as hour from days where is_work)
    group by all
),

peak_hours as (
    select meter, month, array_to_string(list_sort(arg_max(hour, (times, -hour), 3)), ', ') as peak_hours from peaks group by meter, month
)

select
    meter,
    month,
    case
        when work_days < criterion('shift.least_days', month) then null
        when volume_spread is null then 'irregular'
        when volume_spread > criterion('shift.volume_spread', month) then 'irregular'
        when centre_spread_h > criterion('shift.centre_spread_h', month) then 'irregular'
        when hours_active <= criterion('shift.day_hours', month) then 'day'
        when hours_active <= criterion('shift.two_hours', month) then 'two'
        when rest_share >= criterion('shift.rest_share', month) and load_factor >= criterion('shift.flat_share', month) then 'continuous'
        else 'three'
    end as shift_type,
    work_days,
    hours_active,
    centre_h,
    centre_spread_h,
    volume_spread,
    load_factor,
    night_share,
    rest_share,
    peak_hours
from evidence
left join peak_hours using (meter, month)
