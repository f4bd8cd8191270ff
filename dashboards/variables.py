"""What people choose on a board. A name means the same on every board, so that a choice goes along from one to the next.

In SQL a variable is written `${name:sqlstring}`, so that no value can leave its quotes.
"""

from collections.abc import Mapping

from dashboards import Json, thresholds
from dashboards.panels.core import DATASOURCE
from dashboards.vocabulary import ALL, GRAINS, SO_FAR, TECHNOLOGIES, TOTAL, VARIABLES, Word, language

METER = "${meter:sqlstring}"
OWN_METER = "${own_meter:sqlstring}"
CUSTOMER = "${customer_no:sqlstring}"
KIND, CODE = "${kind:sqlstring}", "${code:sqlstring}"
MONTH, YEAR, DAY, GRAIN, PERIOD = (f"${{{name}:sqlstring}}" for name in ("month", "year", "day", "grain", "period"))
ZONE = "${__timezone:sqlstring}"
TODAY = f"CAST(now() AT TIME ZONE {ZONE} AS date)"
"""SQL of the local day."""
FROM_DAY, TO_DAY = (f"CAST(CAST($__time{end}() AS timestamptz) AT TIME ZONE {ZONE} AS date)" for end in ("From", "To"))
"""SQL of the local days in which the time range begins and ends."""


NO_INLET = "NOT IN (SELECT i.meter FROM mart.meter AS i WHERE i.inlet_of IS NOT NULL)"
"""SQL after a meter: what comes into a zone is no customer's, and its water is in theirs."""


def latest_of(meter: str) -> str:
    """SQL of the latest status of a row's meter, to be joined `ON true`; behind the fence it is looked up, else all are read."""
    return f"LATERAL (SELECT * FROM mart.latest_status AS l WHERE l.meter = {meter} OFFSET 0)"


def near(day: str) -> str:
    """SQL that holds for the hours around a civil day of any zone, `hour_start` of which is looked up by the key."""
    return f"BETWEEN {day} - 1 AND {day} + 2"


def midnight(day: str) -> str:
    """SQL of the instant at which a civil day begins."""
    return f"CAST({day} AS timestamp) AT TIME ZONE {ZONE}"


THE_DAY, THE_MONTH, THE_YEAR = (
    f"(SELECT day FROM mart.calendar WHERE CAST(day AS text) = {chosen})"
    for chosen in (DAY, f"{MONTH} || '-01'", f"{YEAR} || '-01-01'")
)
"""SQL of the chosen day, month, year as a date; null for what is none."""


def choice(name: str, sql: str, *, after_period: bool = False, unseen: bool = False, several: bool = False) -> Json:
    """A variable whose values are a query's rows (`__value`, `__text`); the first is the default.

    `after_period`: ask again when the time range changes. `unseen`: it is for titles and SQL, nobody chooses.
    `several`: more than one may be chosen.
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
        "multi": several,
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
    """One meter, found by customer, customer number or meter; those that are measured come first."""
    return choice(
        "meter",
        f"""SELECT meter AS __value, concat_ws(' · ', customer_name, customer_no, meter) AS __text
FROM mart.meter
WHERE concat_ws(' · ', customer_name, customer_no, meter) ILIKE '%$__searchFilter'
ORDER BY source = 'manual', customer_no, meter
LIMIT {thresholds.METER_CHOICES}""",
    )


def own_meter() -> Json:
    """One of the chosen customer's meters, also of those that it had before; `meter` may be another's."""
    return choice(
        "own_meter",
        f"""SELECT DISTINCT h.meter AS __value, h.meter AS __text
FROM mart.meter_history AS h
WHERE h.customer_no = {CUSTOMER}
ORDER BY 1""",
    )


def customer() -> Json:
    """One customer, found by name, number, meter or address; those that are measured come first."""
    return choice(
        "customer_no",
        f"""SELECT c.customer_no AS __value, concat_ws(' · ', c.name, c.customer_no) AS __text
FROM mart.customer AS c
WHERE EXISTS (SELECT 1 FROM mart.customer_search AS s WHERE s.customer_no = c.customer_no AND s.key ILIKE '%$__searchFilter')
ORDER BY c.meters_manual = c.meters, c.customer_no
LIMIT {thresholds.METER_CHOICES}""",
    )


def kind(first_kind: str = "") -> Json:
    """A classification of customers and meters: industry, book, region, network … and those that the utility adds.

    `first_kind`: the default, else the first of `KINDS`.
    """
    names = " ".join(f"WHEN '{code}' THEN '{word}'" for code, word in KINDS.items())
    first = " ".join(f"WHEN '{code}' THEN {place}" for place, code in enumerate(KINDS))
    return choice(
        "kind",
        f"""SELECT kind AS __value, CASE kind {names} ELSE kind END AS __text
FROM (SELECT DISTINCT kind FROM mart.relation) AS known
ORDER BY kind <> '{first_kind}', CASE kind {first} ELSE {len(KINDS)} END, kind""",
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


def _periods(name: str, grain: str, *, whole: bool = False) -> Json:
    """The periods of a grain (SQL) from the first to the last with data, the last complete one first; the running one is marked.

    `whole`: the value is the first day, else as much of it as the grain has. The calendar is what everybody reads.
    """
    over = f"day < date_trunc({grain}, now() AT TIME ZONE {ZONE})"
    shown = f"left(CAST(day AS text), CASE {grain} WHEN 'year' THEN 4 WHEN 'month' THEN 7 ELSE 10 END)"
    return choice(
        name,
        f"""SELECT {"CAST(day AS text)" if whole else shown} AS __value,
  {shown} || CASE WHEN {over} THEN '' ELSE '{SO_FAR}' END AS __text
FROM mart.calendar
WHERE day = date_trunc({grain}, day)
  AND day >= (SELECT min(period) FROM mart.group_usage WHERE grain = {grain})
  AND day <= (SELECT max(period) FROM mart.group_usage WHERE grain = {grain})
ORDER BY {over} DESC, day DESC""",
    )


def month() -> Json:
    """One month, YYYY-MM."""
    return _periods("month", "'month'")


def year() -> Json:
    """One year, YYYY."""
    return _periods("year", "'year'")


def day() -> Json:
    """One day, YYYY-MM-DD."""
    return _periods("day", "'day'")


def period() -> Json:
    """A period of the chosen grain, by its first day."""
    return _periods("period", f"CASE {GRAIN} WHEN 'year' THEN 'year' WHEN 'month' THEN 'month' ELSE 'day' END", whole=True)


def zone() -> Json:
    """A zone whose inlets are measured, as `kind/code`."""
    return choice(
        "zone",
        f"""SELECT DISTINCT z.kind || '/' || z.code AS __value, coalesce(r.name_{language()}, z.code) AS __text
FROM mart.zone_balance AS z
LEFT JOIN mart.relation AS r ON r.kind = z.kind AND r.code = z.code
ORDER BY 2, 1""",
    )


def candidate_words(row: str) -> str:
    """SQL of the words of a meter of the catalogue, with its `dn_mm`, `technology` and `class`."""
    technology = " ".join(f"WHEN '{name}' THEN '{word}'" for name, word in TECHNOLOGIES.items())
    return f"concat_ws(' ', 'DN' || {row}.dn_mm, CASE {row}.technology {technology} ELSE {row}.technology END, {row}.class)"


def candidate() -> Json:
    """A meter of the catalogue that may take the place of the chosen one: the best candidate first, else the nearest size."""
    return choice(
        "candidate",
        f"""SELECT c.name AS __value, {candidate_words("c")} AS __text
FROM (
  SELECT DISTINCT ON (format('DN%s %s %s', dn_mm, technology, class)) format('DN%s %s %s', dn_mm, technology, class) AS name,
    dn_mm, technology, class
  FROM mart.meter_catalogue WHERE price_cny IS NOT NULL
) AS c
LEFT JOIN mart.meter AS m ON m.meter = {METER}
LEFT JOIN mart.meter_resize AS r ON r.meter = {METER} AND r.candidate = c.name
ORDER BY r.passes DESC NULLS LAST, r.payback_years NULLS LAST, c.dn_mm >= m.dn_mm, abs(c.dn_mm - m.dn_mm), c.dn_mm, c.name""",
    )


def grain(first: str = "day") -> Json:
    """By day, month or year; `first` is the default."""
    return fixed_choice("grain", {first: GRAINS[first], **GRAINS})


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


def any_class() -> list[Json]:
    """A classification and a class of it; at first all, of whom each is one."""
    known, classes = kind(), code()
    everybody = f"SELECT 'all' AS __value, '{ALL}' AS __text"
    return [
        choice("kind", f"{everybody} UNION ALL ({known['query']})"),
        choice("code", f"{everybody} WHERE {KIND} = 'all' UNION ALL ({classes['query']})"),
    ]


def of_class(column: str) -> str:
    """SQL that holds for the meters that belong to the chosen class now, of kind `all` for each; `column`: with the meter."""
    return f"""({KIND} = 'all' OR {column} IN (
  SELECT r.meter FROM mart.relation AS r WHERE r.kind = {KIND} AND r.code = {CODE} AND r.valid_to IS NULL))"""


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
