create table if not exists ops.alarm_event (
    meter text not null,
    terminal text not null,
    code text not null,
    state text not null check (state in ('raised', 'cleared')),
    event_at timestamptz not null,
    received_at timestamptz not null,
    value double precision,
    limit_value double precision,
    unit text not null,
    origin text not null check (origin in ('device', 'server')),
    frame bigint not null,
    primary key (terminal, code, state, event_at)
);
