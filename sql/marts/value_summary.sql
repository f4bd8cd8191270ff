/*
zh: 效益汇总
group: metrics
description: >-
  What the figures are worth, a row a line: meters to be made smaller (their best candidate that passes), what replaced meters register more since, and leaks
  behind meters that the newest night shows. Volumes and amounts are a year's, by the formulas of the tables that they sum.
grain: [line]
deps: [meter_resize, replacement_effect, night_flow, criterion]
partitions: whole
columns:
  line: {zh: 项目代码, en: Line code, unit: "", description: "oversized, undersized, replaced or leaking."}
  name_zh: {zh: 项目, en: Line (Chinese), unit: "", description: The line in Chinese.}
  name_en: {zh: 项目（英文）, en: Line, unit: "", description: The line in English.}
  points: {zh: 点数, en: Points, unit: "", format: "#,##0", description: Metering points of the line.}
  volume_m3_year: {zh: 年水量, en: Volume a year, unit: m³, description: "Volume that is or would be registered more, or is lost, in a year; empty where there is none to estimate."}
  amount_cny_year: {zh: 年金额（¥）, en: Amount a year (¥), unit: "", format: "#,##0", description: That volume at the price of the criteria (¥).}
*/
with best as (
    select meter, fit_class, arg_max(saving_m3_year, saving_m3_year) as saving_m3_year, max(saving_cny_year) as saving_cny_year
    from meter_resize
    where passes
    group by meter, fit_class
),

lines as (
    select
        'oversized' as line,
        '口径偏大、可换小的水表' as name_zh,
        'Oversized meters with a candidate' as name_en,
        count(*) as points,
        sum(saving_m3_year order by meter) as volume_m3_year,
        sum(saving_cny_year order by meter) as amount_cny_year
    from best
    where fit_class = 'over'
    union all
    select 'undersized', '口径偏小、宜换大的水表', 'Undersized meters with a candidate', count(*), null, null from best
    where fit_class = 'under'
    union all
    select
        'replaced',
        '换表后多计的水量',
        'Registered more since a replacement',
        count(*),
        sum(realised_m3_year order by meter, replaced_on),
        sum(realised_m3_year * criterion('price.water_cny_m3', replaced_on) order by meter, replaced_on)
    from replacement_effect
    where realised_m3_year is not null
    union all
    select
        'leaking',
        '疑似漏水的水表',
        'Suspected leaks behind meters',
        count(*),
        sum(loss_m3_day * 365 order by meter),
        sum(loss_m3_day * 365 * criterion('price.water_cny_m3', day) order by meter)
    from night_flow
    where suspected and day = (select max(day) from night_flow)
)

select line, name_zh, name_en, points, volume_m3_year, amount_cny_year from lines
