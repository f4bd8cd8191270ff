/*
zh: 水表目录流量有序
description: Q1 < Q2 < Q3 < Q4 of every meter of the catalogue.
severity: fail
because: a candidate with flow rates out of order passes where it should not
*/
select standard, technology, class, dn_mm, q1_m3h, q2_m3h, q3_m3h, q4_m3h
from meter_catalogue
where not (q1_m3h < q2_m3h and q2_m3h < q3_m3h and q3_m3h < q4_m3h)
