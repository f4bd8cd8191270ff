-- Where the role of boards is there already; else publication makes and grants it.
do $$ begin
    if exists (select from pg_roles where rolname = 'mainflow_board') then
        grant usage on schema ops to mainflow_board;
        grant select on ops.alarm_event to mainflow_board;
    end if;
end $$;
