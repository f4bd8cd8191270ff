/*
zh: 回测占比在 0 与 1 之间
description: The share of hours within the band lies between 0 and 1, and there are no more hours than a month has.
severity: fail
because: hours within the band are among those that count
*/
select *
from forecast_score
where month in (select month from touched_forecast_month)
    and not coalesce(share_in_band between 0 and 1 and hours between 1 and 745 and pinball_m3h >= 0, false)
