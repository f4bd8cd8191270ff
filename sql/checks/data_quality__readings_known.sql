/*
zh: 读数不超过应到数太多
description: A day has no more than twice the readings that its step leads to expect.
severity: warn
because: the step in terminals.csv and the meter's own disagree, or a meter floods
*/
select meter, day, readings, expected_readings
from data_quality
join touched_day using (day)
where readings > 2 * expected_readings
