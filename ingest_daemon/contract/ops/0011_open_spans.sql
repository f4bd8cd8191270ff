-- Several daemons look every two seconds at which alarms of terminals are open: there are few of them among all that ever were.
create index alarm_span_open_idx on ops.alarm_span (origin, meter) where ended_at is null;
