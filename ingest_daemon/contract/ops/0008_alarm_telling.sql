-- When alarms were last looked for, whether there were any or not: without it nobody could tell a quiet day from a stopped engine.
create table ops.alarm_look (
    only_row boolean primary key default true check (only_row),
    looked_at timestamptz not null
);

-- Who tells of alarms may be away for some hours and still says in the right words how they ended.
create or replace view ops.alarm_open as
select
    alarm_id,
    meter,
    coalesce(customer_no, '') as customer_no,
    coalesce(customer_name, '') as customer_name,
    code,
    severity,
    origin,
    case when settled_at is null or now() < first_seen_at + interval '60 seconds' then 1 else 0 end as is_firing,
    retracted_at is not null as is_retracted,
    raised_at,
    cleared_at,
    first_seen_at,
    settled_at,
    peak_value,
    limit_value,
    unit
from ops.alarm
where is_told and (settled_at is null or settled_at > now() - interval '6 hours');

do $$ begin
    if exists (select from pg_roles where rolname = 'mainflow_board') then
        grant select on ops.alarm_look, ops.alarm_open to mainflow_board;
    end if;
    if exists (select from pg_roles where rolname = 'mainflow_desk') then
        grant select on ops.alarm_look to mainflow_desk;
    end if;
end $$;
