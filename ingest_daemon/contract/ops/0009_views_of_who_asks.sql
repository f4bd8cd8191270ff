-- The views read with the rights of who asks, so that row-level security of ops.alarm holds for them.
alter view ops.alarm_open set (security_invoker = true);
alter view ops.alarm_ticker set (security_invoker = true);

do $$ begin
    if exists (select from pg_roles where rolname = 'mainflow_board') then
        grant select on ops.latest_reading, ops.ticker_setting to mainflow_board;
    end if;
end $$;
