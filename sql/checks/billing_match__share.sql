/*
zh: 匹配率在 0 与 1 之间
description: No more are matched than there are.
severity: fail
because: something is counted twice
*/
select side, counted, matched
from billing_match
where matched > counted
