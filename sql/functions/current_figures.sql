/*
zh: 当前状况
group: latest
description: >-
  What stands on top of the board of a meter or of a customer: of a customer the sum of its meters, the lowest pressure and battery and the latest
  reading among them. A meter that nobody measures has a row without figures. Yesterday and the months are sums of the days that are known; last
  month counts up to the same day.
grain: []
deps: [latest_status, meter_history, daily_usage, compare_periods]
parameters:
  meter: Name of the meter; null for a customer.
  today: The utility's local day.
  customer_no: Number of the customer; not given for a meter.
columns:
  reading_at:
  flow_m3h: {description: "Latest flow; of a customer the sum, empty where one of its meters has none."}
  pressure_mpa: {description: Latest pressure that was measured; of a customer the lowest.}
  today_m3: {zh: 今日水量, en: Today, unit: m³, description: "Volume of today so far; empty where a meter has sent nothing today."}
  today_coverage: {zh: 今日覆盖率, en: "Today's coverage", unit: "", format: "0.0%", description: "Share of the whole of today in which the curve is known, 0 to 1; of a customer the lowest."}
  yesterday_m3: {zh: 昨日水量, en: Yesterday, unit: m³, description: Volume of yesterday.}
  yesterday_pct: {zh: 较前日, en: On the day before, unit: "%", description: "Growth of yesterday on the day before; empty where that is missing or 0."}
  month_m3: {zh: 本月至昨日, en: Month to yesterday, unit: m³, description: "Volume of the days of this month up to yesterday; empty on the first."}
  last_month_m3: {zh: 上月同期, en: Same days last month, unit: m³, description: Volume of the same days of last month.}
  month_pct: {zh: 较上月同期, en: On the same days, unit: "%", description: Growth of this month on the same days of last month.}
  battery_v: {description: Latest battery voltage; of a customer the lowest.}
*/
create or replace function mart.current_figures(meter text, today date, customer_no text default null)
returns table (
    reading_at timestamptz,
    flow_m3h double precision,
    pressure_mpa double precision,
    today_m3 double precision,
    today_coverage double precision,
    yesterday_m3 double precision,
    yesterday_pct double precision,
    month_m3 double precision,
    last_month_m3 double precision,
    month_pct double precision,
    battery_v double precision
)
language sql stable parallel safe as $$
    with latest as (
        select
            max(status.reading_at) as reading_at,
            case when count(*) = count(status.flow_m3h) then sum(status.flow_m3h order by status.meter) end as flow_m3h,
            min(status.pressure_mpa) as pressure_mpa,
            case when count(*) = count(status.today_m3) then sum(status.today_m3 order by status.meter) end as today_m3,
            min(status.today_coverage) as today_coverage,
            min(status.battery_v) as battery_v
        from mart.latest_status as status
        where status.meter = $1 or ($1 is null and status.customer_no = $3)
    ),

    spans as (
        select
            cast(date_trunc('month', $2) as date) as month_first,
            cast(date_trunc('month', $2) - interval '1 month' as date) as last_first
    ),

    months as (
        select figures.a_m3, figures.b_m3, figures.change_pct
        from spans
        cross join lateral mart.compare_periods(
            $1, month_first, $2 - 1, last_first, least(last_first + ($2 - 1 - month_first), month_first - 1), $3
        ) as figures
        where $2 > month_first
    )

    select
        latest.reading_at,
        latest.flow_m3h,
        latest.pressure_mpa,
        latest.today_m3,
        latest.today_coverage,
        days.a_m3,
        days.change_pct,
        months.a_m3,
        months.b_m3,
        months.change_pct,
        latest.battery_v
    from latest
    left join mart.compare_periods($1, $2 - 1, $2 - 1, $2 - 2, $2 - 2, $3) as days on true
    left join months on true
$$
