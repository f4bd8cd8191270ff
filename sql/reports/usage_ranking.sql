/*
zh: 客户用水量排位表
en: Customer ranking
description: Customers by volume within each month, the largest first, with their share and the rank that they had in the month before.
grain: [period, customer_no]
deps: [usage_rank, customer]
period: month
columns:
  period: {zh: 月份, en: Month, unit: "", format: yyyy-mm, description: First day of the month., width: 9}
  rank: {width: 8}
  previous_rank: {width: 10}
  customer_no: {width: 12}
  name: {width: 28}
  volume_m3: {width: 14, total: sum}
  share: {width: 10, total: sum}
  cumulative_share: {width: 14}
  complete: {width: 0}
layout: {kind: list, by: [period], complete: complete, frozen: 2, chart: {kind: column, x: name, values: [volume_m3], rows: 20}}
csv: [period, rank, previous_rank, customer_no, name, volume_m3, share, cumulative_share, complete]
*/
select
    period,
    rank,
    previous_rank,
    usage_rank.customer_no,
    customer.name,
    volume_m3,
    share,
    cumulative_share,
    complete
from usage_rank
left join customer using (customer_no)
where grain = 'month' and period >= date_trunc('month', $first_day::date) and period <= $last_day::date
order by period, rank, usage_rank.customer_no
