/*
zh: 成员小时曲线
group: usage
description: >-
  Volume and pressure of each member (but inlets) of a network, line, industry … in each hour of a span, and whether the hour is one of the member's peak hours
  (time_segment of the kind peak_hours; a segment of a group of the member comes before the general one). Members are those of the day.
grain: [hour_start, meter]
deps: [relation, meter, hourly_usage, hourly_pressure, time_segment]
parameters:
  kind: Kind of relation.
  code: Code of the group.
  from_at: First instant.
  to_at: Last instant; hours that start between the two are given, those of the last 62 days of the span at most.
  zone: Time zone of the clock by which peak hours go.
columns:
  hour_start:
  meter:
  volume_m3: {description: Volume of the hour; empty where it is not known.}
  pressure_mpa: {description: Mean pressure of the hour.}
  head_m: {zh: 水头, en: Head, unit: m, description: "Mean pressure in metres of water above the point, plus the point's elevation."}
  in_peak: {zh: 高峰时段, en: Peak hour, unit: "", description: The hour is one of the member's peak hours.}
*/
create or replace function mart.member_hours(kind text, code text, from_at timestamptz, to_at timestamptz, zone text)
returns table (
    hour_start timestamptz, meter text, volume_m3 double precision, pressure_mpa double precision, head_m double precision, in_peak boolean
)
language sql stable parallel safe as $$
    with member_days as (
        select distinct relation.meter, cast(day as date) as day
        from generate_series(
            greatest(cast($3 at time zone $5 as date), cast($4 at time zone $5 as date) - 62), cast($4 at time zone $5 as date), interval '1 day'
        ) as day
        join mart.relation on relation.kind = $1 and relation.code = $2
            and (relation.valid_from is null or relation.valid_from <= day) and (relation.valid_to is null or relation.valid_to > day)
        where not exists (select from mart.meter where meter.meter = relation.meter and meter.inlet_of = $2)
    ),

    definitions as (
        select distinct on (member_days.meter, member_days.day)
            member_days.meter, member_days.day, segment.scope_kind, segment.scope_code, segment.valid_from
        from member_days
        join (
            select distinct scope_kind, scope_code, valid_from from mart.time_segment where time_segment.kind = 'peak_hours'
        ) as segment on segment.valid_from <= member_days.day
        left join mart.relation as own on own.meter = member_days.meter and own.kind = scope_kind and own.code = scope_code
            and (own.valid_from is null or own.valid_from <= member_days.day) and (own.valid_to is null or own.valid_to > member_days.day)
        where scope_kind = 'all' or own.meter is not null
        order by member_days.meter, member_days.day, scope_kind = 'all', segment.valid_from desc, scope_kind desc, scope_code desc
    ),

    peaks as (
        select distinct definitions.meter, definitions.day, hour
        from definitions
        join mart.time_segment as segment on segment.kind = 'peak_hours' and segment.segment = 'peak'
            and segment.scope_kind = definitions.scope_kind and segment.scope_code = definitions.scope_code
            and segment.valid_from = definitions.valid_from
        join generate_series(0, 23) as hour
            on case when from_h < to_h then hour >= from_h and hour < to_h else hour >= from_h or hour < to_h end
    )

    select
        usage.hour_start,
        usage.meter,
        usage.volume_m3,
        pressure.pressure_mpa,
        pressure.head_m,
        peaks.hour is not null
    from member_days
    -- The fence keeps the key in use: a day of a member is 24 rows of it.
    cross join lateral (
        select hours.meter, hours.hour_start, hours.volume_m3
        from mart.hourly_usage as hours
        where hours.meter = member_days.meter
            and hours.hour_start >= cast(member_days.day as timestamp) at time zone $5
            and hours.hour_start < cast(member_days.day + 1 as timestamp) at time zone $5
            and hours.hour_start between $3 and $4
        offset 0
    ) as usage
    left join mart.hourly_pressure as pressure on pressure.meter = usage.meter and pressure.hour_start = usage.hour_start
    left join peaks on peaks.meter = usage.meter and peaks.day = member_days.day
        and peaks.hour = cast(extract(hour from usage.hour_start at time zone $5) as integer)
    order by 1, 2
$$
