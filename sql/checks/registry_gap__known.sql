/*
zh: 缺漏的水表存在
description: A gap of a point names a meter that is there.
severity: fail
because: the list sends somebody to a meter that nobody knows
deps: [meter]
*/
select gap, registry_gap.meter
from registry_gap
left join meter using (meter)
where gap <> 'bill_without_meter' and meter.meter is null
