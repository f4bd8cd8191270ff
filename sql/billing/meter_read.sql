/*
description: Reads that billing works with; kind is actual or estimated. read_at is the utility's local date, or date and time.
grain: [read_id]
*/
select
    cast(read_id as varchar(255)) as read_id,
    cast(meter_no as varchar(255)) as meter_no,
    cast(read_at as varchar(255)) as read_at,
    register_m3,
    cast(kind as varchar(255)) as kind,
    cast(updated_at as varchar(255)) as updated_at
from meter_read
where updated_at >= ? or updated_at is null or updated_at < '1900-01-01'
