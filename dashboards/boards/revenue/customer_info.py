"""A customer as billing has it: found by name, number, meter or address; basic data, meter cards, bills and payments."""

from dashboards import Json, style
from dashboards.board import dashboard, row
from dashboards.links import in_ms, to, to_customer, to_meter, to_meter_between
from dashboards.panels.charts import bars
from dashboards.panels.core import fixed, mapping
from dashboards.panels.tables import coloured, hidden, plain, table
from dashboards.panels.tiles import some, tile
from dashboards.variables import CUSTOMER, customer, midnight, text_box
from dashboards.vocabulary import BILL_KINDS, KEYS, METER_SOURCES, SOURCES, TIMINGS, Word, words

TITLE = Word("客户信息", "Customer information")
MORE = Word(
    "按名称、编号、水表、地址查找客户；基本、表卡、账单与缴费信息。", "Find a customer by four keys; card, bills, payments."
)

FOUND = """SELECT customer_name, key_kind, key, customer_no, address
FROM mart.customer_search
WHERE CASE ${search:sqlstring} WHEN '' THEN key_kind = 'name' ELSE key ILIKE '%' || ${search:sqlstring} || '%' END
ORDER BY lower(key) <> lower(${search:sqlstring}), customer_no, key_kind
LIMIT 50"""
BASIC = f"""SELECT customer_no, name, industry_name, region_name, address, meters, meters_manual, source
FROM mart.customer
WHERE customer_no = {CUSTOMER}"""
OWED = f"SELECT sum(outstanding) AS outstanding FROM mart.bill WHERE customer_no = {CUSTOMER}"
OPEN = f"SELECT count(*) AS bills FROM mart.bill WHERE customer_no = {CUSTOMER} AND outstanding > 0"
LAST_BILL = f"""SELECT amount, billed_m3 FROM mart.bill
WHERE customer_no = {CUSTOMER} AND state = 'bill' ORDER BY account_month DESC, period_end DESC LIMIT 1"""
PAID = f"""SELECT amount FROM mart.payment
WHERE customer_no = {CUSTOMER} ORDER BY paid_on DESC, payment_id DESC LIMIT 1"""
COURSE = f"""SELECT month, amount, received FROM (
  SELECT to_char(account_month, 'YYYY-MM') AS month, sum(amount) AS amount, sum(received) AS received FROM mart.bill
  WHERE customer_no = {CUSTOMER} AND state <> 'cancelled' GROUP BY account_month ORDER BY account_month DESC LIMIT 13
) AS course ORDER BY month"""
CARDS = f"""SELECT h.meter, h.source, h.terminal, h.dn_mm, h.vendor, h.q3_m3h, h.book_no, CAST(h.first_day AS text) AS first_day,
  CAST(h.last_day AS text) AS last_day
FROM mart.meter_history AS h
WHERE h.meter IN (SELECT own.meter FROM mart.meter_history AS own WHERE own.customer_no = {CUSTOMER})
  AND h.customer_no = {CUSTOMER}
ORDER BY h.last_day IS NOT NULL, h.meter, h.valid_from DESC NULLS LAST"""
BILLS = f"""SELECT to_char(account_month, 'YYYY-MM') AS account_month, bill_no, meter,
  CAST(period_start AS text) AS period_start, CAST(period_end AS text) AS period_end,
  billed_m3, amount, outstanding, CASE WHEN estimated AND state = 'bill' THEN 'estimated' ELSE state END AS state,
  {in_ms(midnight("period_start"))} AS from_ms, {in_ms(midnight("period_end"))} AS to_ms
FROM mart.bill
WHERE customer_no = {CUSTOMER}
ORDER BY mart.bill.account_month DESC, mart.bill.period_end DESC, bill_no
LIMIT 1000"""
PAYMENTS = f"""SELECT CAST(paid_on AS text) AS paid_on, payment_id, bill_no, to_char(account_month, 'YYYY-MM') AS account_month,
  amount, timing
FROM mart.payment
WHERE customer_no = {CUSTOMER}
ORDER BY mart.payment.paid_on DESC, payment_id
LIMIT 1000"""


def board() -> Json:
    """The dashboard JSON."""
    found = table(
        words(
            "查找结果",
            "Found",
            "在上方「查找」输入名称、编号、水表（含换下的）或地址的一部分，最多 50 行；点击一行选定。",
            "Customers whose name, number, meter (also a former one) or address has the text, at most 50; click one "
            "to choose it.",
        ),
        FOUND,
        {
            "customer_name": {
                "custom__minWidth": 180,
                **to("customer-info", Word("选定此客户", "Choose this customer"), customer_no="customer_no"),
            },
            "key_kind": {"mappings": mapping(KEYS), "custom__width": 100},
            "key": {"custom__minWidth": 160},
            "customer_no": {"custom__width": 110},
            "address": {"custom__minWidth": 160},
        },
        empty=Word("没有这样的名称、编号、水表或地址", "No such name, number, meter or address"),
    )
    tiles = [
        tile(words("未收金额", "Outstanding", "全部账单的未收金额。", "Unpaid of all bills."), OWED, ["outstanding"]),
        tile(
            words("未收账单", "Open bills", "未收清的账单数。", "Bills that are not paid."),
            OPEN,
            ["bills"],
            thresholds=some(style.WARN),
        ),
        tile(
            words("最近账单", "Last bill", "最近一期账单的金额与水量。", "Amount and volume of the last."),
            LAST_BILL,
            ["amount", "billed_m3"],
        ),
        tile(words("最近缴费", "Last payment", "最近一次缴费的金额。", "Amount of the last payment."), PAID, ["amount"]),
    ]
    basic = table(
        words(
            "基本信息",
            "Basic data",
            "营收系统的客户资料；点击编号看客户 360。",
            "As billing has it; click the number for all of it.",
        ),
        BASIC,
        {
            "customer_no": {**to_customer(), "custom__width": 100},
            "name": {"custom__width": 200},
            "industry_name": {"custom__width": 130},
            "region_name": {"custom__width": 96},
            "address": {"custom__minWidth": 150},
            "meters": {"custom__width": 80},
            "meters_manual": {"custom__width": 108},
            "source": {"mappings": mapping(SOURCES), "custom__width": 90},
        },
        empty=Word("没有这个客户", "No such customer"),
    )
    cards = table(
        words(
            "表卡与换表沿革",
            "Meter cards and replacements",
            "每一段安装一行，现用的在前；末日为「—」的是现用。",
            "A row an installation, present ones first; they have no last day.",
        ),
        CARDS,
        {
            "meter": {**to_meter(), "custom__width": 90},
            "source": {"mappings": mapping(METER_SOURCES), "custom__minWidth": 90},
            "terminal": {"custom__minWidth": 110},
            "dn_mm": {"custom__width": 90},
            "vendor": {"custom__minWidth": 100},
            "q3_m3h": {"custom__minWidth": 120},
            "book_no": {"custom__width": 76},
            **plain("first_day last_day"),
        },
        empty=Word("没有表卡", "No meter card"),
    )
    course = bars(
        words(
            "近 13 期开账与已收",
            "Thirteen months of bills",
            "按账务月份；已收为其至今的缴费。",
            "By account month, with what was paid.",
        ),
        COURSE,
        "month",
        {"amount": fixed(style.VOLUME), "received": fixed(style.PRESSURE)},
    )
    kinds = {**BILL_KINDS, "estimated": Word("估抄账单", "estimated")}
    bills = table(
        words(
            "账单",
            "Bills",
            "最近的在前，最多 1,000 条；点击水表看账单期间的曲线。",
            "Latest first, at most 1,000; click the meter for its curve in the period of the bill.",
        ),
        BILLS,
        {
            **plain("account_month bill_no"),
            "meter": to_meter_between(),
            **plain("period_start period_end"),
            "billed_m3": {"custom__minWidth": 108},
            "amount": {"custom__minWidth": 108},
            "outstanding": {"custom__minWidth": 100},
            "state": coloured(
                mappings=mapping(kinds, {"estimated": style.WARN, "credit": style.WARN, "cancelled": style.FORMER})
            ),
            **hidden("from_ms to_ms"),
        },
        pages=True,
        empty=Word("没有账单", "No bill"),
    )
    payments = table(
        words("缴费", "Payments", "最近的在前，最多 1,000 条。", "Latest first, at most 1,000."),
        PAYMENTS,
        {
            "paid_on": {"custom__width": 100},
            "payment_id": {"custom__minWidth": 90},
            "bill_no": {"custom__width": 92},
            "account_month": {"custom__width": 84},
            "amount": {"custom__width": 100},
            "timing": {"mappings": mapping(TIMINGS), "custom__width": 104},
        },
        pages=True,
        empty=Word("没有缴费", "No payment"),
    )
    return dashboard(
        __name__,
        [row(6, found), row(4, *tiles), row(4, basic), row(7, cards), row(11, bills), row(10, (14, payments), (10, course))],
        [text_box("search"), customer()],
        since="now-30d",
        refresh="",
        with_period=False,
    )
