create table if not exists ops.latest_reading (
    terminal text primary key,
    meter text not null,
    ts timestamptz not null,
    forward_m3 double precision,
    reverse_m3 double precision,
    flow_m3h double precision,
    pressure_mpa double precision,
    battery_v double precision,
    signal bigint,
    status bigint,
    received_at timestamptz not null,
    channel text not null,
    stream text not null,
    frame bigint not null,
    updated_at timestamptz not null
);
