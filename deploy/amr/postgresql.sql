-- 中间表：其他采集系统写入，Mainflow 读取。字段含义与规则见 docs/amr.md。
-- The intermediate tables: another system writes them, Mainflow reads them. Columns and rules: docs/amr.md.
--
--   row_id      号码递增，永不重用 / rises, never used again
--   tag         外系统的数据标签名 / the other system's name of the meter
--   read_at     读数时间 / when the meter was read; zone and units as agreed ([amr] sources)
--   written_at  写入或更正时间，更正时须更新，始终用同一时钟 / when the row was written or corrected: set it with every change, always
--               by the same clock
--   空值表示没有该数据，不要写 0 / null: there is no such value; never 0 in its place
-- 只写新行或更正；不要删除，Mainflow 负责清理。一条报警一行：raised_at 与 alarm_code 不再改，恢复时填 cleared_at。
-- Rows are only added or corrected, never deleted: Mainflow purges. One row an alarm: raised_at and alarm_code stay as they are,
-- cleared_at is set when it is over.

create table amr_reading (
    row_id bigint generated always as identity primary key,
    tag varchar(64) not null,
    read_at timestamp not null,
    forward_volume double precision,
    reverse_volume double precision,
    flow double precision,
    pressure double precision,
    battery_v double precision,
    signal_level integer,
    status_word integer,
    written_at timestamp default localtimestamp not null
);
create index amr_reading_written on amr_reading (written_at);
create index amr_reading_tag on amr_reading (tag, row_id);

create table amr_alarm (
    row_id bigint generated always as identity primary key,
    tag varchar(64) not null,
    alarm_code varchar(40) not null,
    raised_at timestamp not null,
    cleared_at timestamp,
    alarm_value double precision,
    limit_value double precision,
    alarm_text varchar(200),
    written_at timestamp default localtimestamp not null
);
create index amr_alarm_written on amr_alarm (written_at);
create index amr_alarm_tag on amr_alarm (tag, row_id);
