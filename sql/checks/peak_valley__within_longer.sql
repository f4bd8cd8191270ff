/*
zh: 月峰值不低于日峰值
description: The highest flow of a month is that of one of its days, of a year that of one of its months; the lowest likewise.
severity: fail
because: the peak of a month is the highest of its days' peaks
*/
select
    longer.meter,
    longer.grain,
    longer.period,
    longer.flow_max_m3h,
    max(shorter.flow_max_m3h) as highest_m3h,
    longer.flow_min_m3h,
    min(shorter.flow_min_m3h) as lowest_m3h
from peak_valley as longer
join touched_grain using (grain, period)
join peak_valley as shorter
    on shorter.meter = longer.meter
    and shorter.grain = case longer.grain when 'month' then 'day' when 'year' then 'month' end
    and shorter.period >= longer.period
    and shorter.period < next
group by all
having longer.flow_max_m3h is distinct from highest_m3h or longer.flow_min_m3h is distinct from lowest_m3h
