/*
zh: 谷值不大于均值、均值不大于峰值
description: Lowest, mean and highest flow and pressure are in this order.
severity: fail
because: a mean lies between the values it is made from
*/
select meter, grain, period, flow_min_m3h, flow_mean_m3h, flow_max_m3h, pressure_min_mpa, pressure_mean_mpa, pressure_max_mpa
from peak_valley
join touched_grain using (grain, period)
where flow_min_m3h > flow_mean_m3h + 1e-6 * greatest(1, abs(flow_mean_m3h))
    or flow_mean_m3h > flow_max_m3h + 1e-6 * greatest(1, abs(flow_mean_m3h))
    or flow_min_m3h > flow_max_m3h
    or pressure_min_mpa > pressure_mean_mpa + 1e-9
    or pressure_mean_mpa > pressure_max_mpa + 1e-9
