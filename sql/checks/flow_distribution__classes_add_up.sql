/*
zh: 流量级与流量区间相符
description: The hours of the classes of flow sum to those of the zones.
severity: fail
because: meter fit and the duration curve show the same flows
*/
select meter, month, list_sum(class_h) as class_h, list_sum(zone_h) as zone_h
from flow_distribution
join touched_month using (month)
where abs(list_sum(class_h) - list_sum(zone_h)) > 1e-6
