/*
zh: 数据质量评分
group: quality
description: >-
  How good the data of each meter in service and day are, 0 to 100, and the points of each part (docs/domain.md#quality-score). The points and limits are
  criteria of the day: those that change later do not change a day before their valid_from. A day that is not over has the points of what came so far.
grain: [meter, day]
deps: [interval_reading, delivery_day, vee_finding, meter_history, meter, criterion]
partitions: review
columns:
  meter:
  day:
  score: {zh: 评分, en: Score, unit: "", format: "0.0", description: "Sum of the parts; 0 without any reading."}
  version: {zh: 评分版本, en: Version, unit: "", format: "0", description: Version of the score (criterion quality.version of the day).}
  completeness_points: {zh: 完整性分, en: Completeness, unit: "", format: "0.0", description: "Points for the share of the expected readings that came."}
  timeliness_points: {zh: 及时性分, en: Timeliness, unit: "", format: "0.0", description: "Points for the readings that came within 24 h and within 3 days, half each; empty without a reading."}
  vee_points: {zh: 校验分, en: Validation, unit: "", format: "0.0", description: "Points left after the validation rules that are broken; empty without a reading."}
  sum_points: {zh: 总量核对分, en: Sum check, unit: "", format: "0.0", description: "Points where volume and register agree; empty without a reading."}
  clock_points: {zh: 时钟分, en: Clock, unit: "", format: "0.0", description: "Points where the device time is right; empty without a reading."}
  battery_points: {zh: 电池分, en: Battery, unit: "", format: "0.0", description: "Points where the battery is not low; empty without a reading."}
  signal_points: {zh: 信号分, en: Signal points, unit: "", format: "0.0", description: "Points where the signal is not weak; empty without a reading."}
  readings: {zh: 读数条数, en: Readings, unit: "", format: "#,##0", description: Readings of the day in the raw store.}
  expected_readings: {zh: 应有读数条数, en: Expected readings, unit: "", format: "#,##0", description: Readings that the meter's step leads to expect.}
  within_24h_share: {zh: 24小时内到达, en: Within 24 h, unit: "", format: "0.0%", description: Share of the readings that came within 24 hours.}
  within_72h_share: {zh: 3天内到达, en: Within 3 days, unit: "", format: "0.0%", description: Share of the readings that came within 3 days.}
  rules_broken: {zh: 违反规则, en: Rules broken, unit: "", description: "Codes of the validation rules that are broken, but for V11 and V17, which other parts have."}
  clock_offset_s: {zh: 时钟偏差, en: Clock offset, unit: s, description: "Least time from a reading to its receipt, of a meter that reports each step, or whose clock is ahead; else empty."}
  battery_min_v: {zh: 最低电压, en: Lowest battery, unit: V, description: Lowest battery voltage of the day.}
  weakest_signal: {zh: 最弱信号, en: Weakest signal, unit: "", format: "0", description: Weakest signal of the day as the device reports it.}
*/
with criteria as (
    select
        day,
        epoch((day + 1)::timestamptz) - epoch(day::timestamptz) as length_s,
        cast(criterion('quality.version', day) as integer) as version,
        criterion('quality.completeness_points', day) as completeness,
        criterion('quality.timeliness_points', day) as timeliness,
        criterion('quality.vee_points', day) as vee,
        criterion('quality.vee_step_points', day) as vee_step,
        criterion('quality.sum_points', day) as sums,
        criterion('quality.clock_points', day) as clock,
        criterion('quality.battery_points', day) as battery,
        criterion('quality.signal_points', day) as signal,
        criterion('quality.clock_s', day) as clock_s,
        criterion('quality.battery_v', day) as battery_v,
        criterion('quality.signal', day) as signal_limit
    from touched_review_day
    where day between (select min(day) from delivery_day) and (select max(day) from delivery_day)
),

in_service as (
    select history.meter, history.step_min, criteria.*
    from meter_history as history
    join criteria on day between coalesce(first_day, date '0001-01-01') and coalesce(last_day, date '9999-12-31')
    left join meter using (meter)
    where coalesce(history.source, 'smart') <> 'manual'
        and day >= coalesce(installed_on, date '0001-01-01') and day < coalesce(removed_on, date '9999-12-31')
),

broken as (
    select meter, day, rule from vee_finding where rule not in ('V11', 'V17') and day in (select day from criteria)
    union
    select meter, day, unnest(list_filter(
        [
            case when conflict_count > 0 then 'V03' end,
            case when impossible_rise_count > 0 then 'V08' end,
            case when pressure_range_count > 0 then 'V14' end,
            case when refused_count > 0 then 'V18' end
        ],
        lambda code: code is not null
    ))
    from unit_day
    where day in (select day from criteria)
),

listed as (
    select meter, day, count(*) as rules, string_agg(rule, ', ' order by rule) as rules_broken
    from broken
    group by meter, day
),

measured as (
    select
        in_service.*,
        readings,
        cast(round(length_s / 60 / step_min) as bigint) as expected_readings,
        within_24h / readings as within_24h_share,
        within_72h / readings as within_72h_share,
        coalesce(rules, 0) as rules,
        rules_broken,
        unsummed.meter is not null as is_unsummed,
        -- Of a meter that reports rarely the time to the receipt shows when it reports, not its clock.
        case when lag_min_s < -clock_s or lag_median_s <= 60 * step_min then lag_min_s end as clock_offset_s,
        battery_min_v,
        signal_min
    from in_service
    left join delivery_day using (meter, day)
    left join listed using (meter, day)
    left join vee_finding as unsummed on unsummed.meter = in_service.meter and unsummed.day = in_service.day and unsummed.rule = 'V11'
),

parts as (
    select
        *,
        completeness * least(1, coalesce(readings, 0) / expected_readings) as completeness_points,
        timeliness * (within_24h_share + within_72h_share) / 2 as timeliness_points,
        case when readings > 0 then greatest(0, vee - vee_step * rules) end as vee_points,
        case when readings > 0 then case when is_unsummed then 0 else sums end end as sum_points,
        case when readings > 0 then case when abs(clock_offset_s) > clock_s then 0 else clock end end as clock_points,
        case when readings > 0 then case when battery_min_v < battery_v then 0 else battery end end as battery_points,
        case when readings > 0 then case when signal_min between 0 and signal_limit - 1 then 0 else signal end end as signal_points
    from measured
)

select
    meter,
    day,
    coalesce(
        completeness_points + timeliness_points + vee_points + sum_points + clock_points + battery_points + signal_points, 0.0
    ) as score,
    version,
    completeness_points,
    timeliness_points,
    vee_points,
    sum_points,
    clock_points,
    battery_points,
    signal_points,
    coalesce(readings, 0) as readings,
    expected_readings,
    within_24h_share,
    within_72h_share,
    rules_broken,
    clock_offset_s,
    battery_min_v,
    signal_min as weakest_signal
from parts
