/*
zh: 用户夜间流量等于各户之和
description: The night flow of a zone's customers is the sum of theirs.
severity: fail
because: both are made from the same nights
deps: [relation, night_flow]
*/
select zone_balance.kind, zone_balance.code, zone_balance.day, customers_night_m3h, sum(night_min_m3h order by relation.meter) as sum_m3h
from zone_balance
join touched_day using (day)
join relation on relation.kind = zone_balance.kind and relation.code = zone_balance.code
    and (valid_from is null or valid_from <= zone_balance.day) and (valid_to is null or valid_to > zone_balance.day)
join night_flow on night_flow.meter = relation.meter and night_flow.day = zone_balance.day
left join registry.points on points.meter = relation.meter and points.inlet_of = relation.code
where points.meter is null
group by zone_balance.kind, zone_balance.code, zone_balance.day, customers_night_m3h
having abs(customers_night_m3h - sum(night_min_m3h order by relation.meter)) > 1e-6
