-- What tickers and the desk's list ask for again and again: alarms that are open, or told and not acknowledged, of all there ever were.
create index alarm_waiting_idx on ops.alarm (raised_at)
where retracted_at is null and (cleared_at is null or (acknowledged_at is null and is_told));
