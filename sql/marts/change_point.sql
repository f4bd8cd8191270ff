/*
zh: 用水变化
group: metrics
description: >-
  Meters whose daily volume has moved to another level, in the week in which it began or was found: some days in a row (criterion change.days) outside
  of what complete days of the same kind were in the weeks before, in one direction (docs/domain.md#change-points). Judged every day, also in the running
  week; Spring Festival counts on neither side.
grain: [meter, week]
deps: [daily_usage, calendar]
partitions: change
columns:
  meter:
  week: {zh: 周, en: Week, unit: "", format: yyyy-mm-dd, description: "Week, by its Monday."}
  direction: {zh: 方向, en: Direction, unit: "", description: up or down.}
  change_pct: {zh: 变化幅度, en: Change, unit: "%", description: Median of the changed days against the baseline of their kind.}
  since: {zh: 起始日, en: Since, unit: "", format: yyyy-mm-dd, description: First of the changed days.}
  days: {zh: 变化天数, en: Days changed, unit: d, format: "0", description: Days in a row up to the end of the week or of the change.}
  change_m3_day: {zh: 日变化量, en: Change a day, unit: m³, description: "Median change of a day's volume."}
*/
with judged_day as (
    -- The days of the week and of the one before, in which a run of days may begin.
    select distinct week, week - 7 + cast(number as integer) as day
    from touched_change, range(14) as days (number)
),

rules as (
    select
        week,
        week - 7 - 7 * cast(criterion('change.weeks', week) as integer) as first_day,
        criterion('change.least_days', week) as least_days,
        criterion('change.mad_factor', week) as mad_factor,
        criterion('change.least_share', week) as least_share,
        criterion('change.least_m3', week) as least_m3,
        criterion('change.days', week) as days_in_row
    from touched_change
),

days as (
    select meter, day, volume_m3, day_kind = 'work' as is_work, festival is not distinct from 'spring_festival' as is_festival
    from daily_usage
    join calendar using (day)
    where complete and day >= (select min(first_day) from rules) and day < (select max(week) + 7 from rules)
),

baseline as (
    select
        week,
        meter,
        is_work,
        median(volume_m3) as usual_m3,
        mad(volume_m3) as mad_m3
    from days
    join rules on day >= first_day and day < week - 7
    where not is_festival
    group by week, meter, is_work, least_days
    having count(*) >= least_days * case when is_work then 1 else 0.4 end
),

judged as (
    select
        week,
        meter,
        day,
        volume_m3 - usual_m3 as change_m3,
        100 * (volume_m3 / nullif(usual_m3, 0) - 1) as change_pct,
        case
            when is_festival then 0
            when abs(volume_m3 - usual_m3) > greatest(mad_factor * mad_m3, least_share * usual_m3, least_m3) then sign(volume_m3 - usual_m3)
            else 0
        end as direction
    from days
    join judged_day using (day)
    join baseline using (week, meter, is_work)
    join rules using (week)
),

runs as (
    select
        *,
        row_number() over (partition by week, meter order by day) - row_number() over (partition by week, meter, direction order by day) as run
    from judged
),

found as (
    select
        week,
        meter,
        direction,
        min(day) as since,
        max(day) as last_day,
        count(*) as days,
        median(change_pct) as change_pct,
        median(change_m3) as change_m3_day
    from runs
    join rules using (week)
    where direction <> 0
    group by week, meter, direction, run, days_in_row
    -- Found in this week: the day that makes the run long enough lies in it.
    having count(*) >= days_in_row and count(*) filter (where day < week) < days_in_row
)

select
    meter,
    week,
    case when direction > 0 then 'up' else 'down' end as direction,
    change_pct,
    since,
    days,
    change_m3_day
from found
qualify row_number() over (partition by meter, week order by last_day desc) = 1
