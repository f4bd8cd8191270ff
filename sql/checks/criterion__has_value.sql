/*
zh: 标准有值有名
description: A criterion has a value and a name in both languages, and ends after it begins.
severity: fail
because: what is judged by it could not be explained
*/
select name, valid_from, valid_to, value, name_zh, name_en
from criterion
where value is null or name_zh is null or name_en is null or valid_to <= valid_from
