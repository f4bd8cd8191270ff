-- What a terminal, or the daemon about it, said of all its alarms at a moment. Spans follow from all words of a meter, whatever came first.
create table ops.alarm_word (
    terminal text not null,
    origin text not null check (origin in ('device', 'server')),
    event_at timestamptz not null,
    meter text not null,
    active text[] not null,
    -- Value and limit of each active code: {"P_LO": [0.12, 0.14]}.
    details jsonb not null,
    received_at timestamptz not null,
    frame bigint not null,
    primary key (terminal, origin, event_at)
);
create index alarm_word_meter_idx on ops.alarm_word (meter, origin, event_at);

-- When the condition of an alarm held, as each origin knows it now. Alarms are what spans of both origins amount to.
create table ops.alarm_span (
    meter text not null,
    code text not null,
    origin text not null check (origin in ('device', 'server')),
    started_at timestamptz not null,
    ended_at timestamptz,
    value double precision,
    limit_value double precision,
    unit text not null,
    terminal text,
    frame bigint,
    received_at timestamptz,
    primary key (meter, code, origin, started_at)
);

create table ops.alarm (
    alarm_id bigint generated always as identity primary key,
    meter text not null,
    customer_no text,
    customer_name text,
    code text not null,
    severity text not null check (severity in ('info', 'maintenance', 'warning', 'critical')),
    origin text not null check (origin in ('device', 'server', 'both')),
    raised_at timestamptz not null,
    cleared_at timestamptz,
    retracted_at timestamptz,
    peak_value double precision,
    limit_value double precision,
    unit text not null,
    terminal text,
    frame bigint,
    first_seen_at timestamptz not null,
    -- When it was known to be over or taken back; empty while it is open.
    settled_at timestamptz,
    is_told boolean not null,
    acknowledged_by text,
    acknowledged_at timestamptz,
    cause text,
    note text
);
create index alarm_meter_code_idx on ops.alarm (meter, code, raised_at);
create index alarm_raised_idx on ops.alarm (raised_at);
create index alarm_settled_idx on ops.alarm (settled_at);

-- What was known when: the whole alarm after each change. Nothing in it is ever changed.
create table ops.alarm_history (
    history_id bigint generated always as identity primary key,
    alarm_id bigint not null references ops.alarm,
    known_at timestamptz not null default clock_timestamp(),
    event text not null check (event in (
        'raised', 'extended', 'cleared', 'reopened', 'corrected', 'retracted', 'restored', 'acknowledged', 'noted'
    )),
    changed_by text not null,
    origin text not null,
    raised_at timestamptz not null,
    cleared_at timestamptz,
    retracted_at timestamptz,
    peak_value double precision,
    limit_value double precision,
    acknowledged_by text,
    acknowledged_at timestamptz,
    cause text,
    note text
);
create index alarm_history_alarm_idx on ops.alarm_history (alarm_id, history_id);

create function ops.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'ops.%: rows are only added, never changed or deleted', tg_table_name;
end $$;
create trigger append_only before update or delete on ops.alarm_history for each row execute function ops.refuse_change();

-- What Grafana's rule looks at: open alarms, and those that were settled some hours ago, so that they resolve with their own words,
-- also where Grafana was away meanwhile.
-- One that came with late data and was over already counts as firing for a minute, so that it is told as well.
create view ops.alarm_open as
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
        grant select on ops.alarm, ops.alarm_history, ops.alarm_open to mainflow_board;
    end if;
    if exists (select from pg_roles where rolname = 'mainflow_desk') then
        grant usage on schema ops to mainflow_desk;
        grant select on all tables in schema ops to mainflow_desk;
        grant update (acknowledged_by, acknowledged_at, cause, note) on ops.alarm to mainflow_desk;
        grant insert on ops.alarm_history to mainflow_desk;
    end if;
end $$;
