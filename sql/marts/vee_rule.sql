/*
zh: 校验规则
group: quality
description: >-
  The validation rules whose findings stand in vee_finding, in words; those of intervals and readings are counted in data_quality
  (docs/domain.md#validation-rules).
grain: [rule]
deps: []
partitions: whole
columns:
  rule: {zh: 规则, en: Rule, unit: "", description: Code of the rule.}
  name_zh: {zh: 规则名称, en: Rule (Chinese), unit: "", description: Name of the rule in Chinese.}
  name_en: {zh: 规则名称（英文）, en: Rule in words, unit: "", description: Name of the rule in English.}
  condition_zh: {zh: 判定条件, en: Condition (Chinese), unit: "", description: When a day breaks it in Chinese.}
  condition_en: {zh: 判定条件（英文）, en: Condition, unit: "", description: When a day breaks it in English.}
  value_unit: {zh: 单位, en: Unit, unit: "", description: Unit of value and limit; empty for a share or ratio.}
*/
select *
from (
    values
        ('V10', '流量尖峰', 'Spike', '最大流量高于 Q3，且高于上月 P99 的若干倍', 'The highest flow is above Q3 and above a multiple of the P99 of the month before', 'm³/h'),
        ('V11', '总量不符', 'Sum check', '当日水量与表底差不符', 'The volume of the day is not what the register moved', 'm³'),
        ('V12', '停走', 'Stuck', '整日无水量，而此前相似日均有水量', 'No volume on a whole day although each of the like days before it has some', 'm³'),
        ('V13', '压力不变', 'Frozen pressure', '连续两日所有压力值相同', 'All pressures of two days in a row are the same', 'MPa'),
        ('V16', '用量异常', 'Unusual volume', '水量与相似日中位数之比超出范围', 'The volume is outside a range around the median of the like days', null),
        ('V17', '未分时计量', 'Not measured by interval', '当日水量有较大份额落在缺口内，仅由两端读数得知', 'A large share of the volume lies in holes and is known only from the readings at their ends', null)
) as rules (rule, name_zh, name_en, condition_zh, condition_en, value_unit)
