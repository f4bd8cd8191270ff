/*
zh: 日历
group: master_data
description: >-
  One row a civil day: its month, calendar and fiscal year, weekday, and whether people work. Holidays and working days in exchange are those of the
  shipped list and of registry/holidays.csv; of a year that nobody listed only the weekend is known. Covers the years of the figures, of the lists and the next one.
grain: [day]
deps: [registry, interval_reading]
partitions: whole
columns:
  day:
  month:
  year: {zh: 年, en: Year, unit: "", format: "yyyy", description: "Calendar year, by its first day."}
  fiscal_year: {zh: 财政年度, en: Fiscal year, unit: "", format: "yyyy-mm", description: "Fiscal year, by the first day of its first month."}
  weekday: {zh: 星期, en: Weekday, unit: "", format: "0", description: "Day of the week: 1 is Monday, 7 Sunday."}
  day_kind: {zh: 日类型, en: Kind of day, unit: "", description: "work (also a weekend day in exchange), rest (weekend) or holiday."}
  holiday_zh: {zh: 节假日, en: Holiday (Chinese), unit: "", description: Chinese name of the holiday or of the exchange; empty on other days.}
  holiday_en: {zh: 节假日（英文）, en: Holiday, unit: "", description: English name of the holiday or of the exchange; empty on other days.}
  festival: {zh: 移动节日, en: Festival, unit: "", description: "Festival whose date moves between years and bends usage around it, from a week before to a week after: spring_festival, national_day; else empty."}
*/
with bounds as (
    select least(min(day), (select min(day) from unit_day)) as first_day, greatest(max(day), (select max(day) from unit_day)) as last_day
    from registry.holidays
),

days as (
    select cast(unnest(generate_series(date_trunc('year', first_day), date_trunc('year', last_day) + interval 2 year - interval 1 day, interval 1 day)) as date) as day
    from bounds
),

festivals as (
    select days.day, min(festival) as festival
    from days
    join registry.holidays as listed
        on festival is not null and days.day between listed.day - 7 and listed.day + 7
    group by days.day
)

select
    days.day,
    cast(date_trunc('month', days.day) as date) as month,
    cast(date_trunc('year', days.day) as date) as year,
    cast(
        date_trunc('year', days.day - to_months(cast(criterion('calendar.fiscal_year_month', days.day) as integer) - 1))
        + to_months(cast(criterion('calendar.fiscal_year_month', days.day) as integer) - 1) as date
    ) as fiscal_year,
    cast(isodow(days.day) as integer) as weekday,
    coalesce(listed.kind, case when isodow(days.day) > 5 then 'rest' else 'work' end) as day_kind,
    listed.zh as holiday_zh,
    listed.en as holiday_en,
    festivals.festival
from days
left join registry.holidays as listed using (day)
left join festivals using (day)
