/*
zh: 任意时段分组水量与压力
group: usage
description: >-
  Volume and pressure of each network, region, industry … over any days. The first row, without a code, is everybody's: each meter once, also where the
  kind leaves meters out or has some twice. Pressure is of kinds of which pressure_by_hour has rows.
grain: [code]
deps: [group_usage, pressure_by_hour, relation]
parameters:
  kind: Kind of relation.
  first_day: First local day.
  last_day: Last local day, included.
columns:
  code: {zh: 代码, en: Code, unit: "", description: "Code of the group; empty in the row of everybody."}
  name_zh: {zh: 名称, en: Name (Chinese), unit: "", description: Chinese name of the group.}
  name_en: {zh: 名称（英文）, en: Name, unit: "", description: English name of the group.}
  volume_m3: {description: Sum of the days and meters that are known; empty where none is.}
  share: {zh: 占比, en: Share, unit: "", format: "0.0%", description: "Share of the volume of everybody, 0 to 1."}
  meters: {description: Most meters that the group had on a day.}
  known_share: {zh: 完整占比, en: Known, unit: "", format: "0.0%", description: "Days of meters that are complete, as a share of all, 0 to 1."}
  pressure_min_mpa: {zh: 最低压力, en: Min pressure, unit: MPa, description: Lowest pressure of a member.}
  p5_mpa: {zh: 最低 5% 分位压力, en: Lowest p5, unit: MPa, description: Lowest of the hours' 5 % percentiles of the members.}
  median_mpa: {zh: 中位压力, en: Median, unit: MPa, description: Median of the hours' medians of the members.}
*/
create or replace function mart.group_period(kind text, first_day date, last_day date)
returns table (
    code text,
    name_zh text,
    name_en text,
    volume_m3 double precision,
    share double precision,
    meters bigint,
    known_share double precision,
    pressure_min_mpa double precision,
    p5_mpa double precision,
    median_mpa double precision
)
language sql stable parallel safe as $$
    with volumes as (
        select
            case when usage.kind = 'all' then '' else usage.code end as code,
            sum(volume_m3 order by period) as volume_m3,
            max(meters) as meters,
            sum(meters_complete) / nullif(sum(meters), 0) as known_share
        from mart.group_usage as usage
        where usage.kind in ($1, 'all') and usage.grain = 'day' and usage.period between $2 and $3
        group by 1
    ),

    pressures as (
        select
            hours.code,
            min(pressure_min_mpa) as pressure_min_mpa,
            min(p5_mpa) as p5_mpa,
            percentile_cont(0.5) within group (order by median_mpa) as median_mpa
        from mart.pressure_by_hour as hours
        where hours.kind = $1 and hours.day between $2 and $3
        group by hours.code
    ),

    names as (
        select relation.code, max(relation.name_zh) as name_zh, max(relation.name_en) as name_en
        from mart.relation
        where relation.kind = $1
        group by relation.code
    )

    select
        volumes.code,
        names.name_zh,
        names.name_en,
        volumes.volume_m3,
        volumes.volume_m3 / nullif(sum(volumes.volume_m3) filter (where volumes.code = '') over (), 0),
        volumes.meters,
        cast(volumes.known_share as double precision),
        pressures.pressure_min_mpa,
        pressures.p5_mpa,
        pressures.median_mpa
    from volumes
    left join names using (code)
    left join pressures using (code)
    order by volumes.code <> '', volumes.volume_m3 desc nulls last, volumes.code
$$
