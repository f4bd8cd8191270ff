/*
zh: 抄表周期
group: revenue
description: >-
  Billing cycles of each meter-reading book: of the bills that end in a month the most frequent period, of equally frequent ones the latest. A book
  without any bill has the calendar months of the figures.
grain: [book_no, period_start]
deps: [billing, interval_reading]
partitions: whole
columns:
  book_no:
  period_start:
  period_end:
  bills: {zh: 账单数, en: Bills, unit: "", format: "#,##0", description: Number of bills with just this period; 0 for a calendar month.}
*/
with cards as (
    select meter_no, book_no from billing.meter_card where book_no is not null
),

periods as (
    select book_no, period_start, period_end, count(*) as bills
    from billing.bill
    join cards using (meter_no)
    where period_end > period_start
    group by all
),

chosen as (
    select * from periods
    qualify row_number() over (partition by book_no, date_trunc('month', period_end - 1) order by bills desc, period_end desc, period_start desc) = 1
),

figures as (
    select date_trunc('month', min(day)) as first_month, max(day) as last_day from unit_day
),

months as (
    select cast(unnest(generate_series(first_month, last_day, interval 1 month)) as date) as month from figures
)

select book_no, period_start, period_end, bills
from chosen
qualify row_number() over (partition by book_no, period_start order by bills desc, period_end desc) = 1
union all
select book_no, month, cast(month + interval 1 month as date), 0
from (select distinct book_no from cards where book_no not in (select book_no from chosen))
cross join months
