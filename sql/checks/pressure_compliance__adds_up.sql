/*
zh: 月合格读数等于各日之和
description: A month has the readings of its days.
severity: fail
because: a month is made from its days
*/
select months.meter, months.period, months.readings, months.readings_met, sum(days.readings) as days_readings, sum(days.readings_met) as days_met
from pressure_compliance as months
join touched_month on months.period = month
join pressure_compliance as days on days.meter = months.meter and days.grain = 'day' and days.period >= month and days.period < month + interval 1 month
where months.grain = 'month'
group by months.meter, months.period, months.readings, months.readings_met
having months.readings <> sum(days.readings) or months.readings_met <> sum(days.readings_met)
