/*
zh: 有水量必有点数
description: A line without a metering point has no volume and no amount.
severity: fail
because: money that no meter stands for is invented
*/
select line, points, volume_m3_year, amount_cny_year
from value_summary
where points = 0 and (volume_m3_year is not null or amount_cny_year is not null)
