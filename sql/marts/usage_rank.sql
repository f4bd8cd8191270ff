/*
zh: 客户用水量排位
group: metrics
description: >-
  Customers by volume within each day, month and year, the largest first, with their share and the rank that they had in the period before. Equal volumes
  share a rank. The curve of concentration is customers_share against cumulative_share: 0.2 of the customers use 0.8 of the water, say.
grain: [grain, period, customer_no]
deps: [customer_usage]
partitions: rank
columns:
  grain:
  period:
  rank: {zh: 排位, en: Rank, unit: "", format: "0", description: Place of the customer by volume; equal volumes share it.}
  customer_no:
  volume_m3:
  share: {zh: 占比, en: Share, unit: "", format: "0.0%", description: "Share of the volume of all customers of the period, 0 to 1."}
  previous_rank: {zh: 上期排位, en: Rank before, unit: "", format: "0", description: Rank in the period before; empty where the customer had no volume then.}
  customers_share: {zh: 累计客户占比, en: Share of customers, unit: "", format: "0.0%", description: "Share of the customers down to this one, 0 to 1."}
  cumulative_share: {zh: 累计水量占比, en: Cumulative share, unit: "", format: "0.0%", description: "Share of the volume of the customers down to this one, 0 to 1."}
  complete:
*/
with volumes as (
    -- Whole millilitres, so that sums do not depend on their order.
    select grain, period, customer_no, volume_m3, cast(round(volume_m3 * 1e6) as bigint) as volume_ml, complete
    from customer_usage
    where volume_m3 is not null
        and (grain, period) in (select (grain, period) from touched_rank union select (grain, previous) from touched_rank)
),

ranked as (
    select
        *,
        rank() over (partition by grain, period order by volume_ml desc) as rank,
        row_number() over down as place,
        count(*) over (partition by grain, period) as customers,
        sum(volume_ml) over (partition by grain, period) as total_ml,
        sum(volume_ml) over down as running_ml
    from volumes
    window down as (partition by grain, period order by volume_ml desc, customer_no rows unbounded preceding)
)

select
    ranked.grain,
    ranked.period,
    ranked.rank,
    ranked.customer_no,
    ranked.volume_m3,
    ranked.volume_ml / nullif(ranked.total_ml, 0) as share,
    before.rank as previous_rank,
    ranked.place / ranked.customers as customers_share,
    ranked.running_ml / nullif(ranked.total_ml, 0) as cumulative_share,
    ranked.complete
from ranked
join touched_rank using (grain, period)
left join ranked as before
    on before.grain = ranked.grain and before.period = touched_rank.previous and before.customer_no = ranked.customer_no
