"""What people choose on a board. A name means the same on every board, so that a choice goes along from one to the next.

In SQL a variable is written `${name:sqlstring}`, so that no value can leave its quotes.
"""

from collections.abc import Mapping

from dashboards import Json, thresholds
from dashboards.panels.core import DATASOURCE
from dashboards.vocabulary import ALL, GRAINS, SO_FAR, TOTAL, VARIABLES, Word, language

METER = "${meter:sqlstring}"
CUSTOMER = "${customer_no:sqlstring}"
KIND, CODE = "${kind:sqlstring}", "${code:sqlstring}"
MONTH, YEAR, DAY, GRAIN = (f"${{{name}:sqlstring}}" for name in ("month", "year", "day", "grain"))
ZONE = "${__timezone:sqlstring}"
TODAY = f"CAST(now() AT TIME ZONE {ZONE} AS date)"
"""SQL of the local day."""
FROM_DAY, TO_DAY = (f"CAST(CAST($__time{end}() AS timestamptz) AT TIME ZONE {ZONE} AS date)" for end in ("From", "To"))
"""SQL of the local days in which the time range begins and ends."""


def midnight(day: str) -> str:
    """SQL of the instant at which a civil day begins."""
    return f"CAST({day} AS timestamp) AT TIME ZONE {ZONE}"


def choice(name: str, sql: str, *, after_period: bool = False, unseen: bool = False) -> Json:
    """A variable whose values are a query's rows (`__value`, `__text`); the first is the default.

    `after_period`: ask again when the time range changes. `unseen`: it is for titles and SQL, nobody chooses.
    """
    return {
        "type": "query",
        "name": name,
        "label": str(VARIABLES[name]),
        "datasource": DATASOURCE,
        "query": sql,
        "definition": sql,
        "refresh": 2 if after_period else 1,
        "sort": 0,
        "multi": False,
        "includeAll": False,
        "hide": 2 if unseen else 0,
        "current": {},
        "options": [],
        "skipUrlSync": unseen,
    }


def text_box(name: str, value: str = "") -> Json:
    """A variable that people type into."""
    first = {"selected": True, "text": value, "value": value}
    return {
        "type": "textbox",
        "name": name,
        "label": str(VARIABLES[name]),
        "query": value,
        "current": first,
        "options": [first],
        "hide": 0,
        "skipUrlSync": False,
    }


def fixed_choice(name: str, words: Mapping[str, Word]) -> Json:
    """A variable with fixed values; the first is the default."""
    options = [{"selected": index == 0, "text": str(word), "value": code} for index, (code, word) in enumerate(words.items())]
    return {
        "type": "custom",
        "name": name,
        "label": str(VARIABLES[name]),
        "query": ",".join(f"{word} : {code}" for code, word in words.items()),
        "current": options[0],
        "options": options,
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "skipUrlSync": False,
    }


def hidden_constant(name: str, value: str) -> Json:
    """A variable that nobody sees or changes, for links."""
    return {
        "type": "constant",
        "name": name,
        "query": value,
        "hide": 2,
        "skipUrlSync": True,
        "current": {"value": value, "text": value},
    }


def meter() -> Json:
    """One meter, found by customer, customer number or meter."""
    return choice(
        "meter",
        f"""SELECT meter AS __value, concat_ws(' · ', customer_name, customer_no, meter) AS __text
FROM mart.latest_status
WHERE concat_ws(' · ', customer_name, customer_no, meter) ILIKE '%$__searchFilter'
ORDER BY customer_no, meter
LIMIT {thresholds.METER_CHOICES}""",
    )


def customer() -> Json:
    """One customer, found by name or number."""
    return choice(
        "customer_no",
        f"""SELECT customer_no AS __value, concat_ws(' · ', name, customer_no) AS __text
FROM mart.customer
WHERE concat_ws(' · ', name, customer_no) ILIKE '%$__searchFilter'
ORDER BY customer_no
LIMIT {thresholds.METER_CHOICES}""",
    )


def kind() -> Json:
    """A classification of customers and meters: industry, book, region, network … and those that the utility adds."""
    names = " ".join(f"WHEN '{code}' THEN '{word}'" for code, word in KINDS.items())
    first = " ".join(f"WHEN '{code}' THEN {place}" for place, code in enumerate(KINDS))
    return choice(
        "kind",
        f"""SELECT kind AS __value, CASE kind {names} ELSE kind END AS __text
FROM (SELECT DISTINCT kind FROM mart.relation) AS known
ORDER BY CASE kind {first} ELSE {len(KINDS)} END, kind""",
    )


def code() -> Json:
    """A class of the chosen classification."""
    return choice(
        "code",
        f"""SELECT DISTINCT code AS __value, name_{language()} AS __text
FROM mart.relation
WHERE kind = {KIND}
ORDER BY 2, 1""",
    )


def month_of_accounts() -> Json:
    """A month of billing, the last that is over first; the running one is marked."""
    return choice(
        "month",
        f"""SELECT to_char(month, 'YYYY-MM') AS __value,
  to_char(month, 'YYYY-MM') || CASE WHEN to_date THEN '{SO_FAR}' ELSE '' END AS __text
FROM mart.revenue_kpi
WHERE line = 1
ORDER BY to_date, month DESC""",
    )


def year_of_accounts() -> Json:
    """A year of billing, the last that is over first; the running one is marked."""
    return choice(
        "year",
        f"""SELECT to_char(year, 'YYYY') AS __value, to_char(year,
          'YYYY') || CASE WHEN is_over THEN '' ELSE '{SO_FAR}' END AS __text
FROM (
  SELECT year, max(last_month) >= CAST(year + interval '11 months' AS date) AS is_over FROM mart.usage_by_class_year GROUP BY year
) AS known
ORDER BY is_over DESC, year DESC""",
    )


def class_or_total() -> Json:
    """A class of billing of the chosen classification; first the total of all of them."""
    return choice(
        "code",
        f"""SELECT code AS __value, CASE WHEN code = 'all' THEN '{TOTAL}' ELSE max(name_{language()}) END AS __text
FROM mart.usage_by_class_year
WHERE kind = {KIND}
GROUP BY code
ORDER BY code <> 'all', 2, 1""",
    )


def of_class_then(meter: str, month: str) -> str:
    """SQL whether a meter belonged at the end of a month to the chosen class: `all` is every one, `none` those of no class."""
    held = f"""EXISTS (SELECT 1 FROM mart.relation AS belongs
    WHERE belongs.meter = {meter} AND belongs.kind = {KIND} AND {CODE} IN ('none', belongs.code)
      AND coalesce(belongs.valid_from < {month} + interval '1 month', true)
      AND coalesce(belongs.valid_to >= {month} + interval '1 month', true))"""
    return f"({CODE} = 'all' OR ({CODE} = 'none') <> {held})"


def grain() -> Json:
    """By day, month or year."""
    return fixed_choice("grain", GRAINS)


def region() -> Json:
    """One region, or all."""
    return choice(
        "region",
        f"""SELECT __value, __text FROM (
  SELECT 0 AS place, 'all' AS __value, '{ALL}' AS __text
  UNION SELECT 1, region, coalesce(region_name, region) FROM mart.customer WHERE region IS NOT NULL
) AS region ORDER BY place, __text""",
    )


KINDS: dict[str, Word] = {
    "industry": Word("行业", "industry"),
    "region": Word("区域", "region"),
    "network": Word("管网", "network"),
    "line": Word("延线", "line"),
    "book": Word("册本", "book"),
    "group": Word("集团", "group"),
    "dn": Word("口径", "size"),
    "vendor": Word("厂家", "vendor"),
    "source": Word("数据来源", "source"),
}
"""Words of the classifications that ship; one of the utility's own shows its code."""


def step() -> Json:
    """How far apart the points of `mart.curve` are over the period, in words, for the title of its panel."""
    raw, hour = Word("采集间隔", "raw step"), Word("每小时", "hourly")
    sql = f"""SELECT CASE
  WHEN CAST($__timeTo() AS timestamptz) - CAST($__timeFrom() AS timestamptz) <= interval '{thresholds.RAW_DAYS} days' THEN '{raw}'
  ELSE '{hour}' END AS __value"""
    return choice("step", sql, after_period=True, unseen=True)
