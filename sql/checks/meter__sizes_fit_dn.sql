/*
zh: 口径与流量参数相符
description: A meter has the DN for which its Q1 to Q4 are registered.
severity: warn
because: billing names another DN than terminals.csv, so Q1 to Q4 there are those of the meter before
*/
select meter, meter.dn_mm, terminals.dn_mm as registered_dn_mm, terminals.q3_m3h, terminals.q4_m3h
from meter
join registry.terminals using (meter)
where meter.dn_mm <> terminals.dn_mm
