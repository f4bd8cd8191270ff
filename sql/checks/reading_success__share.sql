/*
zh: 已读不多于水表数
description: No more meters are read than there are, and the share is their ratio.
severity: fail
because: the share is held against a target
*/
select day, meters, meters_read, share
from reading_success
join touched_success_day using (day)
where meters_read > meters or abs(share * meters - meters_read) > 1e-6
