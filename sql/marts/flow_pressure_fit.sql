/*
zh: 流量压力拟合
group: metrics
description: >-
  The pressure of a meter against its flow on a day, fitted as P = a − b·Q² by least squares over the intervals with both; no row where flow or
  pressure did not vary.
grain: [meter, day]
deps: [interval_reading]
partitions: day
columns:
  meter:
  day:
  static_mpa: {zh: 静压, en: Static pressure, unit: MPa, description: "Pressure without flow: a."}
  slope: {zh: 斜率, en: Slope, unit: "", format: "0.00E+00", description: "Fall of pressure with the square of the flow: b, in MPa/(m³/h)²."}
  r_squared: {zh: 拟合优度, en: R², unit: "", format: "0.00", description: "Share of the variance of pressure that the fit explains, 0 to 1."}
  intervals: {zh: 区间数, en: Intervals, unit: "", format: "#,##0", description: Intervals that the fit is made from.}
*/
with spread as (
    select
        meter,
        day,
        fit_n,
        fit_p_sum,
        fit_q2_sum,
        fit_n * fit_pq2_sum - fit_p_sum * fit_q2_sum as together,
        fit_n * fit_q4_sum - fit_q2_sum * fit_q2_sum as of_flow,
        fit_n * fit_p2_sum - fit_p_sum * fit_p_sum as of_pressure,
        fit_n * fit_q4_sum as flow_scale,
        fit_n * fit_p2_sum as pressure_scale
    from unit_day
    join touched_day using (day)
    where fit_n >= 3
)

-- A spread below a millionth of a millionth is the rounding of the sums.
select
    meter,
    day,
    (fit_p_sum - together / of_flow * fit_q2_sum) / fit_n as static_mpa,
    -together / of_flow as slope,
    least(1.0, together / of_flow * together / of_pressure) as r_squared,
    fit_n as intervals
from spread
where of_flow > 1e-12 * flow_scale and of_pressure > 1e-12 * pressure_scale
