/*
zh: 可比则有基期
description: A comparison is called comparable only where both periods have a volume.
severity: fail
because: an incomplete period must not be ranked
*/
select meter, grain, period, volume_m3, previous_m3, previous_comparable, last_year_m3, last_year_comparable
from usage_comparison
join touched_period using (grain, period)
where previous_comparable and (volume_m3 is null or previous_m3 is null)
    or last_year_comparable and (volume_m3 is null or last_year_m3 is null)
