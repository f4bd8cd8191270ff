/*
zh: 营收指标
group: revenue
description: >-
  The eighteen lines of the main indicators of a month, beside the month before and the same month of last year. Changes are growth rates in percent of the
  base, of rates (lines 6, 17, 18) the difference in percentage points; a base that is missing or 0 gives none. Line 4 is a heading. Where a value is empty
  reason tells why: heading, no_cards, no_reads, no_bills, no_charges, no_payments or nothing_due; shared where parts of payments in part are in proportion.
grain: [month, line]
deps: [month_end, billing]
partitions: account
columns:
  month:
  line: {zh: 行, en: Line, unit: "", format: "0", description: "Number of the line, 1 to 18."}
  value: {zh: 本月, en: This month, unit: "", format: "#,##0.00", description: Value of the month in the unit of the line; empty where reason tells why.}
  previous: {zh: 上月, en: Previous month, unit: "", format: "#,##0.00", description: Value of the month before.}
  last_year: {zh: 去年, en: Last year, unit: "", format: "#,##0.00", description: Value of the same month of last year.}
  change_pct: {zh: 环比, en: Change, unit: "%", format: "0.00", description: Growth on the month before; of rates the difference in percentage points.}
  yoy_pct: {zh: 同比, en: Year on year, unit: "%", format: "0.00", description: Growth on the same month of last year; of rates the difference in percentage points.}
  code: {zh: 指标代码, en: Indicator code, unit: "", description: Name of the line for programs.}
  item: {zh: 序号, en: Item, unit: "", description: "Number as printed; empty: part of the line above."}
  name_zh: {zh: 汇总内容, en: Indicator (Chinese), unit: "", description: Chinese name of the line.}
  name_en: {zh: 汇总内容（英文）, en: Indicator, unit: "", description: English name of the line.}
  value_unit: {zh: 单位, en: Unit, unit: "", description: Unit of the value; empty for a number.}
  note_zh: {zh: 说明, en: Note (Chinese), unit: "", description: "What the line counts, and why it is empty, in Chinese."}
  note_en: {zh: 说明（英文）, en: Note, unit: "", description: "What the line counts, and why it is empty, in English."}
  reason: {zh: 原因, en: Reason, unit: "", description: "Why the value is empty or how its parts were found; empty else."}
  more_is_better: {zh: 升为好, en: More is better, unit: "", description: A rise is good; empty where it is neither good nor bad.}
  to_date: {zh: 未结束, en: To date, unit: "", description: The month was not over when it was counted.}
  as_of: {zh: 截至, en: As of, unit: "", format: yyyy-mm-dd, description: Day up to which the month is counted.}
*/
with lines (line, code, item, name_zh, name_en, value_unit, more_is_better, needs, else_reason, note_zh, note_en) as (
    values
        (1, 'books', '1', '册本数', 'Books', '', null, 'no_cards', 'no_cards', '月末在用水表所在的册本', 'Books of the meters active at the end of the month'),
        (2, 'meters', '2', '表数', 'Meters', '', null, 'no_cards', null, '月末在装在用的水表', 'Meters installed and active on the last day of the month'),
        (3, 'smart_meters', '', '其中：智能表数', 'of which smart meters', '', true, 'no_cards', null, '其中本系统远传的智能表', 'Those of them that this system reads'),
        (4, 'reading', '3', '当月抄表', 'Read this month', '', null, 'heading', null, '以下三行为当月抄表', 'Heading of the three lines below'),
        (5, 'meters_read', '', '抄表数', 'Meters read', '', true, 'no_reads', null, '当月实抄的水表，估抄不计', 'Meters with an actual read in the month; estimates do not count'),
        (6, 'reading_rate', '', '抄表率', 'Reading rate', '%', true, 'no_reads', null, '抄表数 ÷ 表数', 'Meters read ÷ meters'),
        (7, 'volume', '', '用水量', 'Water volume', 'm³', null, 'no_bills', 'no_bills', '当月账单的开账水量', 'Volume on the bills of the month'),
        (8, 'billed', '4', '开账金额', 'Billed', '¥', true, 'no_bills', null, '当月抄表开账金额', 'Bills for the reads of this month'),
        (9, 'billed_water', '', '用水费', 'Water charge', '¥', true, 'no_bills', 'no_charges', '开账金额中的用水费', 'Part of the billed amount for water'),
        (10, 'billed_drainage', '', '排水费', 'Drainage charge', '¥', true, 'no_bills', 'no_charges', '开账金额中的排水费', 'Part of the billed amount for drainage'),
        (11, 'arrears', '5', '欠费金额', 'Arrears', '¥', false, '', null, '往月抄表开账金额：月初未收的往月账单', 'Bills of earlier months that are unpaid at the beginning of the month'),
        (12, 'arrears_water', '', '用水费', 'Water charge', '¥', false, '', 'no_charges', '欠费金额中的用水费', 'Part of the arrears for water'),
        (13, 'arrears_drainage', '', '排水费', 'Drainage charge', '¥', false, '', 'no_charges', '欠费金额中的排水费', 'Part of the arrears for drainage'),
        (14, 'received', '6', '收费金额', 'Received', '¥', true, 'no_payments', null, '当月全部缴费', 'All payments of the month'),
        (15, 'received_water', '', '用水费', 'Water charge', '¥', true, 'no_payments', 'no_charges', '收费金额中的用水费', 'Part of the payments for water'),
        (16, 'received_drainage', '', '排水费', 'Drainage charge', '¥', true, 'no_payments', 'no_charges', '收费金额中的排水费', 'Part of the payments for drainage'),
        (17, 'collection_rate', '7', '回收率', 'Collection rate', '%', true, 'no_payments', 'nothing_due', '收费金额 ÷ (开账金额 + 欠费金额)', 'Received ÷ (billed + arrears)'),
        (18, 'current_rate', '', '当月回收率', 'Current collection rate', '%', true, 'no_payments', 'nothing_due', '当月账单的收费 ÷ 开账金额', 'Received of the bills of this month ÷ billed')
),

explained (reason, zh, en) as (
    values
        ('no_cards', '营收没有表卡或册本', 'billing has no cards or books'),
        ('no_reads', '营收没有当月抄表记录', 'billing has no reads of the month'),
        ('no_bills', '营收没有当月账单', 'billing has no bills of the month'),
        ('no_charges', '账单未分费用', 'bills do not tell their charges'),
        ('no_payments', '营收没有缴费记录', 'billing has no payments'),
        ('nothing_due', '没有应收金额', 'nothing is due'),
        ('shared', '部分缴费未注明费用，按账单比例分摊', 'payments in part that name no charge are shared in proportion')
),

wanted as (
    select distinct unnest([month, cast(month - interval 1 month as date), cast(month - interval 1 year as date)]) as month from touched_account
),

books as (
    select month, count(distinct code) as books from month_end join wanted using (month) where kind = 'book' and code <> 'none' and meters > 0 group by month
),

totals as (
    select
        month,
        max(as_of) as as_of,
        sum(meters) as meters,
        coalesce(sum(meters) filter (where source = 'smart'), 0) as smart_meters,
        sum(meters_read) as meters_read,
        sum(meters_estimated) as meters_estimated,
        sum(bills) as bills,
        sum(bills_shared) as bills_shared,
        sum(volume_m3 order by source, vendor) as volume,
        sum(billed) as billed,
        sum(billed_water) as billed_water,
        sum(billed_drainage) as billed_drainage,
        sum(opening) as arrears,
        sum(opening_water) as arrears_water,
        sum(opening_drainage) as arrears_drainage,
        sum(received) as received,
        sum(received_water) as received_water,
        sum(received_drainage) as received_drainage,
        sum(received_current) as received_current
    from month_end
    join wanted using (month)
    where kind = 'all'
    group by month
),

unpivoted as (
    select
        month,
        as_of,
        bills_shared,
        unnest(range(1, 19)) as line,
        unnest([
            books,
            meters,
            smart_meters,
            null,
            meters_read,
            100 * meters_read / nullif(meters, 0),
            volume,
            billed,
            billed_water,
            billed_drainage,
            arrears,
            coalesce(arrears_water, if(arrears = 0, 0, null)),
            coalesce(arrears_drainage, if(arrears = 0, 0, null)),
            received,
            coalesce(received_water, if(received = 0, 0, null)),
            coalesce(received_drainage, if(received = 0, 0, null)),
            100 * received / nullif(billed + arrears, 0),
            100 * received_current / nullif(billed, 0)
        ]) as value,
        list_filter(
            [
                'heading',
                if(meters > 0, null, 'no_cards'),
                if(meters_read + meters_estimated > 0, null, 'no_reads'),
                if(bills > 0, null, 'no_bills'),
                if(received <> 0 or (select count(*) > 0 from billing.payment), null, 'no_payments')
            ],
            lambda reason: reason is not null
        ) as lacking
    from totals
    left join books using (month)
),

valued as (
    select
        month,
        as_of,
        line,
        if(needs in lacking, null, cast(round(value, 4) as decimal(18, 4))) as value,
        case
            when needs in lacking then needs
            when value is null then else_reason
            when line in (12, 13, 15, 16) and bills_shared > 0 then 'shared'
        end as reason
    from unpivoted
    join lines using (line)
)

select
    now.month,
    cast(now.line as integer) as line,
    now.value,
    before.value as previous,
    year_ago.value as last_year,
    if(value_unit = '%', 1, 100 / nullif(abs(cast(before.value as double)), 0)) * (now.value - before.value) as change_pct,
    if(value_unit = '%', 1, 100 / nullif(abs(cast(year_ago.value as double)), 0)) * (now.value - year_ago.value) as yoy_pct,
    code,
    item,
    name_zh,
    name_en,
    value_unit,
    note_zh || coalesce('；' || explained.zh, '') as note_zh,
    note_en || coalesce('; ' || explained.en, '') as note_en,
    now.reason,
    more_is_better,
    now.as_of < now.month + interval 1 month - interval 1 day as to_date,
    now.as_of
from valued as now
join touched_account using (month)
join lines using (line)
left join valued as before on before.line = now.line and before.month = now.month - interval 1 month
left join valued as year_ago on year_ago.line = now.line and year_ago.month = now.month - interval 1 year
left join explained on explained.reason = now.reason
