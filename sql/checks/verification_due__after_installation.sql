/*
zh: 到期日晚于启用日
description: A meter is due after it was put to use.
severity: fail
because: a criterion has a period that is not positive
*/
select meter, in_use_since, due_on
from verification_due
where due_on <= in_use_since
