-- What people set at the desk, and what it was before.
create table ops.setting_history (
    history_id bigint generated always as identity primary key,
    changed_at timestamptz not null default clock_timestamp(),
    changed_by text not null,
    setting text not null,
    before jsonb,
    after jsonb
);
create index setting_history_setting_idx on ops.setting_history (setting, history_id);
create trigger append_only before update or delete on ops.setting_history for each row execute function ops.refuse_change();

-- What the ticker shows to each role. No code: every one. `seconds`: how long each alarm stands there.
create table ops.ticker_setting (
    role text primary key check (role in ('viewer', 'operator', 'admin')),
    codes text[] not null default '{}',
    severities text[] not null,
    seconds integer not null check (seconds between 1 and 600)
);
insert into ops.ticker_setting (role, severities, seconds) values
    ('viewer', '{warning,critical}', 6),
    ('operator', '{maintenance,warning,critical}', 6),
    ('admin', '{info,maintenance,warning,critical}', 6);

-- The alarms of each role's ticker: while they are open, or were told and nobody has acknowledged them.
create view ops.alarm_ticker as
select
    setting.role,
    alarm.alarm_id,
    case when alarm.cleared_at is null then 'open' else 'cleared' end as state,
    alarm.raised_at,
    alarm.peak_value as value,
    alarm.limit_value,
    alarm.unit,
    alarm.code,
    alarm.severity,
    alarm.meter,
    coalesce(alarm.customer_name, '') as customer_name,
    alarm.cleared_at,
    alarm.first_seen_at,
    alarm.acknowledged_at is not null as is_acknowledged
from ops.alarm as alarm
join ops.ticker_setting as setting
    on alarm.severity = any(setting.severities) and (setting.codes = '{}' or alarm.code = any(setting.codes))
where alarm.retracted_at is null and (alarm.cleared_at is null or (alarm.acknowledged_at is null and alarm.is_told));

do $$ begin
    if exists (select from pg_roles where rolname = 'mainflow_board') then
        grant select on ops.alarm_ticker to mainflow_board;
    end if;
    if exists (select from pg_roles where rolname = 'mainflow_desk') then
        grant select on ops.alarm_ticker to mainflow_desk;
        grant select, update on ops.ticker_setting to mainflow_desk;
        grant select, insert on ops.setting_history to mainflow_desk;
    end if;
end $$;
