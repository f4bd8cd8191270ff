-- When alarms were last looked for, whether there were any or not: without it nobody could tell a quiet day from a stopped engine.
create table ops.alarm_look (
    only_row boolean primary key default true check (only_row),
    looked_at timestamptz not null
);

do $$ begin
    if exists (select from pg_roles where rolname = 'mainflow_board') then
        grant select on ops.alarm_look to mainflow_board;
    end if;
    if exists (select from pg_roles where rolname = 'mainflow_desk') then
        grant select on ops.alarm_look to mainflow_desk;
    end if;
end $$;
