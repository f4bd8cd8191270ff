/*
zh: 实现增计须前后皆有
description: What a replacement realised stands at the side after, where the side before is known.
severity: fail
because: a gain without a before is invented
*/
select meter, replaced_on, realised_m3_year
from replacement_effect as later
where realised_m3_year is not null
    and (
        side <> 'after'
        or not exists (
            select 1 from replacement_effect as former
            where former.meter = later.meter and former.replaced_on = later.replaced_on and former.side = 'before'
        )
    )
