/*
zh: 时段用水量
group: metrics
description: >-
  Volume of each meter and local day in the segments of each kind (tariff, shift, peak hours …). Segments of a network, line, group … of which
  the meter is a member at the day come before those for everybody, a later valid_from before an earlier one. An hour in no segment
  counts as other, one in two for the one that begins last before it; so the segments of a kind add up to the day.
grain: [meter, day, kind, segment]
deps: [hourly_usage, daily_usage, time_segment, relation]
partitions: day
columns:
  meter:
  day:
  segment: {zh: 时段代码, en: Segment, unit: "", description: "Code of the segment within its kind; other: hours in none."}
  volume_m3: {description: Sum of the hours that are known; empty where none is.}
  kind: {description: "What the day is cut for: tariff, shift, peak_hours or a kind of the utility's own."}
  complete: {description: Every hour of the segment is known.}
  share: {zh: 占比, en: Share, unit: "", format: "0.0%", description: "Share of the volume of the day; empty where the day is not complete, or dry."}
*/
with definitions as (
    select *, row_number() over (order by kind, scope_kind, scope_code, valid_from) as definition
    from (select distinct kind, scope_kind, scope_code, valid_from from time_segment)
),

clock as (
    -- The segment of each clock hour in each definition; one from 22 to 6 goes over midnight.
    select definition, hour, coalesce(arg_min(segment, ((hour - from_h + 24) % 24, segment)), 'other') as segment
    from definitions
    cross join (select unnest(range(24)) as hour)
    left join time_segment
        on time_segment.kind = definitions.kind
        and time_segment.scope_kind = definitions.scope_kind
        and time_segment.scope_code = definitions.scope_code
        and time_segment.valid_from = definitions.valid_from
        and case when from_h < to_h then hour >= from_h and hour < to_h else hour >= from_h or hour < to_h end
    group by definition, hour
),

quarters as (
    select day, starts_at, unnest(generate_series(starts_at, ends_at - interval 1 minute, interval 15 minute)) as instant from touched_day
),

slots as (
    -- The starts of clock hours, 23 to 25 in a day. The clock is read once for all meters: the zone's calendar costs more than a join.
    select day, instant as hour_start, hour(instant) as hour
    from quarters
    where minute(instant) = 0 or instant = starts_at
),

expected as (
    select day, definition, segment, count(*) as hours
    from slots
    join clock using (hour)
    group by day, definition, segment
),

general as (
    select day, kind, arg_max(definition, valid_from) as definition
    from touched_day
    join definitions on scope_kind = 'all' and valid_from <= day
    group by day, kind
),

own as (
    select day, meter, definitions.kind, arg_max(definition, (definitions.valid_from, scope_kind, scope_code)) as definition
    from definitions
    join relation on relation.kind = scope_kind and relation.code = scope_code
    join touched_day
        on definitions.valid_from <= day
        and (relation.valid_from is null or relation.valid_from <= day)
        and (relation.valid_to is null or relation.valid_to > day)
    group by day, meter, definitions.kind
),

hours as (
    -- Whole microlitres: their sum is the same in whatever order.
    select meter, slots.day, hour, cast(volume_m3 * 1e9 as bigint) as volume_ul
    from hourly_usage
    join slots using (hour_start)
),

cut as (
    select meter, day, kind, coalesce(own.definition, general.definition) as definition
    from (select distinct meter, day from hours)
    cross join (select distinct kind from definitions)
    left join own using (meter, day, kind)
    left join general using (day, kind)
),

sums as (
    select meter, day, definition, segment, sum(volume_ul) as volume_ul, count(volume_ul) as hours
    from hours
    join cut using (meter, day)
    join clock using (definition, hour)
    group by meter, day, definition, segment
)

select
    cut.meter,
    cut.day,
    segment,
    volume_ul / 1e9 as volume_m3,
    kind,
    coalesce(sums.hours, 0) = expected.hours as complete,
    case when daily_usage.complete then volume_ul / 1e9 / nullif(daily_usage.volume_m3, 0) end as share
from cut
join expected using (day, definition)
left join sums using (meter, day, definition, segment)
left join daily_usage using (meter, day)
