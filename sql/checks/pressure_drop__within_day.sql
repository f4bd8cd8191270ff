/*
zh: 压降次数不多于压力读数
description: A meter has no more drops in a day than pressures.
severity: fail
because: a drop is a fall from one pressure to the next
deps: [pressure_compliance]
*/
select pressure_drop.meter, day, steps, readings
from pressure_drop
join touched_day using (day)
join pressure_compliance on pressure_compliance.meter = pressure_drop.meter and grain = 'day' and period = day
where steps >= readings
