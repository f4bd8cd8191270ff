/*
zh: 客户营收排位
group: revenue
description: >-
  Customers by the amount of their bills in each year of account, the largest first, those whose meters are read by hand included. Credit notes count,
  cancelled bills do not; equal amounts share a rank. The curve of concentration is customers_share against cumulative_share: a fifth of the customers
  brings four fifths of the revenue, say.
grain: [year, customer_no]
deps: [bill]
partitions: account_year
columns:
  year: {zh: 年度, en: Year, unit: "", format: "yyyy", description: Year by its first day.}
  rank: {zh: 排位, en: Rank, unit: "", format: "0", description: Place of the customer by amount; equal amounts share it.}
  customer_no:
  amount: {zh: 开账金额, en: Amount, unit: "¥", description: Sum of the bills of the year's account so far.}
  billed_m3: {zh: 开账水量, en: Billed volume, unit: m³, description: Volume on these bills.}
  share: {zh: 占比, en: Share, unit: "", format: "0.0%", description: "Share of the amounts of all customers of the year, 0 to 1."}
  previous_rank: {zh: 上年排位, en: Rank before, unit: "", format: "0", description: Rank in the year before; empty where the customer had no bill then.}
  customers_share: {zh: 累计客户占比, en: Share of customers, unit: "", format: "0.0%", description: "Share of the customers down to this one, 0 to 1."}
  cumulative_share: {zh: 累计金额占比, en: Cumulative share, unit: "", format: "0.0%", description: "Share of the amounts of the customers down to this one, 0 to 1."}
*/
with years as (
    select year from touched_account_year
    union
    select cast(year - interval 1 year as date) from touched_account_year
),

amounts as (
    -- Whole millilitres, and amounts that are decimals: the sums do not depend on their order.
    select
        years.year,
        customer_no,
        sum(amount) as amount,
        sum(cast(round(billed_m3 * 1e6) as bigint)) / 1e6 as billed_m3
    from bill
    join years on account_month >= year and account_month < year + interval 1 year
    where state <> 'cancelled' and customer_no is not null and amount is not null
    group by years.year, customer_no
),

ranked as (
    select
        *,
        rank() over (partition by year order by amount desc) as rank,
        row_number() over down as place,
        count(*) over (partition by year) as customers,
        sum(amount) over (partition by year) as total,
        sum(amount) over down as running
    from amounts
    window down as (partition by year order by amount desc, customer_no rows unbounded preceding)
)

select
    ranked.year,
    ranked.rank,
    ranked.customer_no,
    ranked.amount,
    ranked.billed_m3,
    cast(ranked.amount as double) / nullif(ranked.total, 0) as share,
    before.rank as previous_rank,
    ranked.place / ranked.customers as customers_share,
    cast(ranked.running as double) / nullif(ranked.total, 0) as cumulative_share
from ranked
join touched_account_year using (year)
left join ranked as before
    on before.year = ranked.year - interval 1 year and before.customer_no = ranked.customer_no
