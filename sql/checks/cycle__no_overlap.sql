/*
zh: 周期不重叠
description: The cycles of a book do not overlap.
severity: warn
because: a day counts in two cycles; bills of the book have periods that do not fit each other
*/
select book_no, period_start, period_end
from cycle
qualify lead(period_start) over (partition by book_no order by period_start) < period_end
