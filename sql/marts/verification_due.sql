/*
zh: 检定到期
group: quality
description: >-
  When a meter in service has to be verified or replaced for the first time after it was installed or replaced (JJG 162, docs/domain.md#verification). A meter whose
  size or date of installation nobody knows has no row.
grain: [meter]
deps: [registry, meter]
partitions: whole
columns:
  meter:
  dn_mm:
  q3_m3h:
  in_use_since: {zh: 启用日期, en: In use since, unit: "", format: yyyy-mm-dd, description: Day on which the present meter was installed or replaced the one before.}
  period_years: {zh: 检定周期, en: Period, unit: a, format: "0", description: Years until the verification.}
  due_on: {zh: 到期日, en: Due on, unit: "", format: yyyy-mm-dd, description: Day on which the verification is due.}
*/
with replaced as (
    select meter, max(coalesce(cast(replaced_at as date), replaced_on)) as replaced_on
    from registry.replacements
    group by meter
),

sized as (
    -- greatest() passes over a null.
    select meter, dn_mm, q3_m3h, greatest(installed_on, replaced_on) as in_use_since
    from meter
    left join replaced using (meter)
    where removed_on is null
),

periods as (
    select
        *,
        cast(case
            when dn_mm > criterion('verification.medium_dn_mm', in_use_since) or q3_m3h > criterion('verification.q3_m3h', in_use_since)
                then criterion('verification.large_years', in_use_since)
            when dn_mm > criterion('verification.small_dn_mm', in_use_since) then criterion('verification.medium_years', in_use_since)
            when dn_mm is not null then criterion('verification.small_years', in_use_since)
        end as bigint) as period_years
    from sized
)

select
    meter,
    dn_mm,
    q3_m3h,
    in_use_since,
    period_years,
    cast(in_use_since + to_years(cast(period_years as integer)) as date) as due_on
from periods
where in_use_since is not null and period_years is not null
