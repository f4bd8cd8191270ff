/*
zh: 隔离区
group: quality
description: >-
  Frames and readings that were kept aside instead of stored, by reason, terminal and local day of receipt; frames of unknown terminals
  that were adopted later are not among them. Codes of the reasons: docs/glossary.md.
grain: [reason, terminal, day]
deps: [kept_aside, registry]
partitions: whole
columns:
  reason: {zh: 原因, en: Reason, unit: "", description: Code of the reason.}
  terminal: {description: "Number of the terminal; empty text where the bytes name none."}
  day: {description: Local day of the first receipt.}
  reason_zh: {zh: 原因说明, en: Reason (Chinese), unit: "", description: The reason in Chinese.}
  reason_en: {zh: 原因说明（英文）, en: Reason in words, unit: "", description: The reason in English.}
  meter: {description: Meter that the terminal measures now; empty where it is not registered.}
  registered: {zh: 已登记, en: Registered, unit: "", description: The registry has the terminal.}
  entries: {zh: 条数, en: Entries, unit: "", format: "#,##0", description: Frames or readings kept aside.}
  first_at: {zh: 首次接收, en: First, unit: "", format: "yyyy-mm-dd hh:mm", description: When the first was received.}
  last_at: {zh: 末次接收, en: Last, unit: "", format: "yyyy-mm-dd hh:mm", description: When the last was received.}
  detail: {zh: 详情, en: Detail, unit: "", description: What the daemon noted of the last one.}
*/
with reasons (reason, reason_zh, reason_en) as (
    values
        ('BAD_CRC', '校验错', 'Wrong checksum'),
        ('BAD_LENGTH', '长度错', 'Wrong declared length'),
        ('NOISE', '不属于任何报文', 'Bytes of no frame'),
        ('UNKNOWN_LINK', '连接方不明', 'Unknown link'),
        ('LATE_ANSWER', '迟到的应答', 'Answer that came too late'),
        ('BAD_BODY', '内容不可用', 'Content that cannot be used'),
        ('BAD_TIME', '时间不可用', 'Time that cannot be used'),
        ('FUTURE_TIME', '时间超前', 'Time ahead of the server'),
        ('OLD_TIME', '时间过旧', 'Time too far back'),
        ('NOT_INSTALLED', '早于安装日期', 'Before the meter was installed'),
        ('REMOVED', '晚于拆除日期', 'After the meter was removed'),
        ('UNKNOWN_TERMINAL', '未登记终端', 'Terminal not registered'),
        ('CONFLICT', '同一时间数值矛盾', 'Two values for one time'),
        ('STORE_REFUSED', '存储拒收', 'Refused by the store'),
        ('WRONG_PASSWORD', '口令不符', 'Wrong password'),
        ('FOREIGN_STATION', '他站', 'Station of another sender'),
        ('FOREIGN_SENDER', '号码不符', 'SMS from another number'),
        ('REPLAYED', '重放', 'Replayed frame')
)

select
    kept_aside.reason,
    kept_aside.terminal,
    day,
    reason_zh,
    reason_en,
    meter,
    terminals.terminal is not null as registered,
    entries,
    first_at,
    last_at,
    detail
from kept_aside
left join reasons using (reason)
-- A terminal that has measured several meters measures the last one now.
left join (select terminal, arg_max(meter, coalesce(valid_from, timestamptz '0001-01-01 00:00:00+00')) as meter from registry.timeline group by terminal) as terminals
    on terminals.terminal = kept_aside.terminal
