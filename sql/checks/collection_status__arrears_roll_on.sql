/*
zh: 欠费滚动平衡
description: Closing arrears are opening arrears and what is billed, less what is received, with the adjustment; their ages add up to them.
severity: fail
because: what a customer owes is not lost between two months
*/
select month, kind, code, opening_arrears, billed, received, adjustment, closing_arrears
from collection_status
join touched_account using (month)
where closing_arrears <> opening_arrears + billed - received + adjustment
    or closing_arrears <> age_0_months + age_1_to_3_months + age_4_to_6_months + age_7_to_12_months + age_over_12_months
    or received <> received_current + received_arrears + received_other
