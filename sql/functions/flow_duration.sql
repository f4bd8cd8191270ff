/*
zh: 流量历时曲线
group: metrics
description: >-
  The duration curve of a meter over the months that its fit looks at (meter_fit): each flow with the share of the known time and of the volume
  in which the flow is at least that, the highest first; the last row is the time without flow. A flow is the mean of its class (flow_distribution).
grain: [time_share]
deps: [meter_fit, flow_distribution]
parameters:
  meter: Name of the meter.
  month: Last month of the window, by its first day.
columns:
  time_share: {zh: 时间占比, en: Share of the time, unit: "", format: "0%", description: "Share of the known time in which the flow is at least this, 0 to 1."}
  flow_m3h: {description: Mean flow of the class; 0 in the last row.}
  volume_share: {zh: 水量占比, en: Share of the volume, unit: "", format: "0%", description: "Share of the volume that flows at least so fast, 0 to 1."}
*/
create or replace function mart.flow_duration(meter text, month date)
returns table (time_share double precision, flow_m3h double precision, volume_share double precision)
language sql stable parallel safe as $$
    with classes as (
        select flow_class, sum(cell_h order by distribution.month) as hours, sum(cell_m3 order by distribution.month) as volume_m3
        from mart.meter_fit as fit
        join mart.flow_distribution as distribution on distribution.meter = fit.meter and distribution.month between fit.first_month and fit.month
        cross join unnest(distribution.class, class_h, class_m3) as cells (flow_class, cell_h, cell_m3)
        where fit.meter = $1 and fit.month = $2 and cell_h > 0
        group by flow_class
    )

    select
        sum(hours) over down / sum(hours) over (),
        case when flow_class = 0 then 0 else volume_m3 / hours end,
        sum(volume_m3) over down / nullif(sum(volume_m3) over (), 0)
    from classes
    window down as (order by flow_class desc)
    order by flow_class desc
$$
