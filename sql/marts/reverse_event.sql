/*
zh: 倒流事件
group: metrics
description: >-
  One row each time that water flowed backwards, across pauses of reverse.pause_min and across midnight (a whole day of reverse flow is an event of its
  own), with the pressures beside it and what speaks for each cause: a score from 0 to 1, 0 where its main sign is absent. Main signs: neighbours of the
  network or line reversed as well (network), a dip of the own pressure (pumping), a sudden fall of consumption (theft), many such events (check valve).
grain: [meter, started_at]
deps: [interval_reading, relation, daily_usage]
partitions: reverse
columns:
  meter:
  started_at: {zh: 开始, en: Start, unit: "", format: "yyyy-mm-dd hh:mm", description: Start of the first interval with reverse flow.}
  ended_at: {zh: 结束, en: End, unit: "", format: "yyyy-mm-dd hh:mm", description: End of the last one.}
  volume_m3: {zh: 倒流水量, en: Reverse volume, unit: m³, description: Volume that flowed backwards.}
  flow_max_m3h: {zh: 最大倒流流量, en: Max reverse flow, unit: m³/h, description: Highest mean reverse flow of an interval.}
  pressure_before_mpa: {zh: 倒流前压力, en: Pressure before, unit: MPa, description: Last pressure before the start.}
  pressure_after_mpa: {zh: 倒流后压力, en: Pressure after, unit: MPa, description: First pressure after the end.}
  day: {description: Local day of the start.}
  pressure_min_mpa: {zh: 最低压力, en: Min pressure, unit: MPa, description: Lowest pressure within the event.}
  dip_mpa: {zh: 压降, en: Dip, unit: MPa, description: Pressure before the start less the lowest within.}
  neighbours: {zh: 同网用户数, en: Neighbours, unit: "", format: "#,##0", description: Other meters of the network or line.}
  neighbours_reversed: {zh: 同时倒流户数, en: Neighbours reversed, unit: "", format: "#,##0", description: Of them those that reversed in the same hours.}
  neighbours_dipped: {zh: 同时压降户数, en: Neighbours dipped, unit: "", format: "#,##0", description: Of them those whose pressure fell in the same hours.}
  night: {zh: 夜间, en: By night, unit: "", description: Most of the event lies in the hours of the night.}
  usage_fall_share: {zh: 用水降幅, en: Fall of usage, unit: "", format: "0%", description: "Fall of the day's volume below the median of the days before, 0 to 1."}
  earlier_events: {zh: 此前倒流天数, en: Earlier days, unit: "", format: "0", description: Days with reverse flow among the days before.}
  score_network: {zh: 管网波动, en: Network fluctuation, unit: "", format: "0.00", description: What speaks for a fluctuation of the network.}
  score_pumping: {zh: 违规抽水, en: Illegal pumping, unit: "", format: "0.00", description: What speaks for pumping from the network.}
  score_theft: {zh: 人为偷水, en: Theft, unit: "", format: "0.00", description: What speaks for a meter that was tampered with.}
  score_check_valve: {zh: 止回阀故障, en: Check valve, unit: "", format: "0.00", description: What speaks for a check valve that leaks.}
  likely_cause: {zh: 可能原因, en: Likely cause, unit: "", description: "network, pumping, theft or check_valve: the highest score; unclear where all are 0."}
*/
with limits as (
    select
        day,
        to_seconds(60 * criterion('reverse.pause_min', day)) as pause,
        cast(criterion('reverse.history_days', day) as integer) as history,
        criterion('reverse.neighbour_share', day) as neighbour_share,
        criterion('reverse.fall_share', day) as fall_share,
        criterion('reverse.repeats', day) as repeats,
        criterion('reverse.night_from_h', day) as night_from,
        criterion('reverse.night_to_h', day) as night_to,
        criterion('pressure.drop_mpa', day) as drop_mpa
    from (select distinct cast(unnest([day - 1, day, day + 1]) as date) as day from touched_reverse)
),

intervals as (
    select
        reverse_interval.*,
        pause,
        coalesce(started_at - lag(ended_at) over (partition by meter, day order by ended_at) <= pause, false) as goes_on
    from reverse_interval
    join limits using (day)
),

numbered as (
    select *, count(*) filter (where not goes_on) over (partition by meter, day order by ended_at rows unbounded preceding) as run from intervals
),

runs as (
    select
        meter,
        day,
        min(started_at) as started_at,
        max(ended_at) as ended_at,
        sum(reverse_nl) as reverse_nl,
        max(reverse_nl / (epoch_us(ended_at) - epoch_us(started_at))) as nl_us,
        arg_min(pressure_before_pa, ended_at) as pressure_before_pa,
        arg_max(pressure_after_pa, ended_at) as pressure_after_pa,
        min(pressure_pa) as pressure_min_pa,
        any_value(pause) as pause,
        min(started_at) <= cast(day as timestamptz) + any_value(pause) and max(ended_at) >= cast(day + 1 as timestamptz) - any_value(pause) as is_whole_day
    from numbered
    group by meter, day, run
),

linked as (
    select
        *,
        coalesce(
            lag(day) over by_time = day - 1
            and started_at - lag(ended_at) over by_time <= pause
            and not is_whole_day and not lag(is_whole_day) over by_time,
            false
        ) as goes_on
    from runs
    window by_time as (partition by meter order by started_at)
),

grouped as (
    select *, count(*) filter (where not goes_on) over (partition by meter order by started_at rows unbounded preceding) as event from linked
),

events as (
    select
        meter,
        min(day) as day,
        min(started_at) as started_at,
        max(ended_at) as ended_at,
        sum(reverse_nl) / 1e12 as volume_m3,
        max(nl_us) * 3.6e9 / 1e12 as flow_max_m3h,
        arg_min(pressure_before_pa, started_at) / 1e6 as pressure_before_mpa,
        arg_max(pressure_after_pa, started_at) / 1e6 as pressure_after_mpa,
        min(pressure_min_pa) / 1e6 as pressure_min_mpa
    from grouped
    group by meter, event
    having min(day) in (select day from touched_reverse)
),

event_hours as (
    select meter, day, started_at, unnest(generate_series(date_trunc('hour', started_at), ended_at - interval 1 microsecond, interval 1 hour)) as hour_start
    from events
),

members as (
    select distinct relation.meter, relation.kind, relation.code, limits.day
    from relation
    join limits on (valid_from is null or valid_from <= day) and (valid_to is null or valid_to > day)
    where kind in ('network', 'line')
),

sizes as (
    select kind, code, day, count(*) as meters from members group by kind, code, day
),

reversed_hours as (
    select distinct meter, day, date_trunc('hour', ended_at - interval 1 microsecond) as hour_start from intervals
    union
    select distinct meter, day, date_trunc('hour', started_at) from intervals
),

reversed as (
    select kind, code, hour_start, count(distinct meter) as meters
    from reversed_hours
    join members using (meter, day)
    group by kind, code, hour_start
),

-- A dip: the lowest pressure of the hour under the mean of the member's day.
dips as (
    select
        clock_hour.meter,
        clock_hour.day,
        hour_start,
        (unit_day.pressure_sum_pa / unit_day.pressure_count - clock_hour.pressure_min_pa) / 1e6 >= drop_mpa as is_dip
    from clock_hour
    join limits using (day)
    join unit_day using (meter, day)
    where clock_hour.pressure_count > 0 and hour_start in (select hour_start from event_hours)
),

dipped as (
    select kind, code, hour_start, count(*) filter (where is_dip) as meters
    from dips
    join members using (meter, day)
    group by kind, code, hour_start
),

beside as (
    select
        event_hours.meter,
        started_at,
        max(sizes.meters) - 1 as neighbours,
        max(coalesce(reversed.meters, 0)) - 1 as neighbours_reversed,
        max(coalesce(dipped.meters, 0) - cast(coalesce(is_dip, false) as integer)) as neighbours_dipped,
        max((coalesce(reversed.meters, 0) - 1) / nullif(sizes.meters - 1, 0)) as share_reversed,
        max((coalesce(dipped.meters, 0) - cast(coalesce(is_dip, false) as integer)) / nullif(sizes.meters - 1, 0)) as share_dipped
    from event_hours
    join members using (meter, day)
    join sizes using (kind, code, day)
    left join reversed using (kind, code, hour_start)
    left join dipped using (kind, code, hour_start)
    left join dips on dips.meter = event_hours.meter and dips.hour_start = event_hours.hour_start
    group by event_hours.meter, started_at
),

usual as (
    select events.meter, events.started_at, median(earlier.volume_m3) as usual_m3
    from events
    join limits using (day)
    join daily_usage as earlier on earlier.meter = events.meter and earlier.day >= events.day - history and earlier.day < events.day
    group by events.meter, events.started_at
),

earlier_days as (
    select events.meter, events.started_at, count(distinct earlier.day) as earlier_events
    from events
    join limits using (day)
    join reverse_interval as earlier on earlier.meter = events.meter and earlier.day >= events.day - history and earlier.day < events.day
    group by events.meter, events.started_at
),

signs as (
    select
        events.*,
        pressure_before_mpa - pressure_min_mpa as dip_mpa,
        coalesce(neighbours, 0) as neighbours,
        coalesce(neighbours_reversed, 0) as neighbours_reversed,
        coalesce(neighbours_dipped, 0) as neighbours_dipped,
        coalesce(earlier_events, 0) as earlier_events,
        1 - that_day.volume_m3 / nullif(usual_m3, 0) as usage_fall_share,
        coalesce(share_reversed >= neighbour_share, false) as has_neighbours,
        coalesce(share_dipped >= neighbour_share, false) as has_dips_beside,
        coalesce(pressure_before_mpa - pressure_min_mpa >= drop_mpa, false) as has_dip,
        coalesce(pressure_before_mpa - pressure_min_mpa < drop_mpa, false) as has_no_dip,
        coalesce(1 - that_day.volume_m3 / nullif(usual_m3, 0) >= fall_share, false) as has_fall,
        coalesce(earlier_events, 0) >= repeats as is_repeated,
        hour(events.started_at + (events.ended_at - events.started_at) / 2) as middle_h,
        middle_h >= night_from or middle_h < night_to as night
    from events
    join limits using (day)
    left join beside using (meter, started_at)
    left join usual using (meter, started_at)
    left join earlier_days using (meter, started_at)
    left join daily_usage as that_day on that_day.meter = events.meter and that_day.day = events.day
),

scored as (
    select
        *,
        case when has_neighbours then (1 + cast(has_dips_beside as integer) + cast(not has_fall as integer)) / 3 else 0.0 end as score_network,
        case when has_dip then (1 + cast(not has_neighbours as integer) + cast(not has_fall as integer)) / 3 else 0.0 end as score_pumping,
        case
            when has_fall then (1 + cast(not has_neighbours as integer) + cast(has_no_dip as integer) + cast(night as integer)) / 4
            else 0.0
        end as score_theft,
        case
            when is_repeated then (1 + cast(not has_neighbours as integer) + cast(has_no_dip as integer) + cast(not has_fall as integer)) / 4
            else 0.0
        end as score_check_valve
    from signs
)

select
    meter,
    started_at,
    ended_at,
    volume_m3,
    flow_max_m3h,
    pressure_before_mpa,
    pressure_after_mpa,
    day,
    pressure_min_mpa,
    dip_mpa,
    neighbours,
    neighbours_reversed,
    neighbours_dipped,
    night,
    usage_fall_share,
    earlier_events,
    score_network,
    score_pumping,
    score_theft,
    score_check_valve,
    case greatest(score_network, score_pumping, score_theft, score_check_valve)
        when 0 then 'unclear'
        when score_network then 'network'
        when score_pumping then 'pumping'
        when score_theft then 'theft'
        else 'check_valve'
    end as likely_cause
from scored
