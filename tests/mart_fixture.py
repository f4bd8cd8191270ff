"""A PostgreSQL of our own with the published tables, schema `ops` and a few invented rows, for tests of boards and alerts.

Column names are those of the headers in `sql/`. Meters: M1 is well, M2's pressure is below its limit, M3 has been silent for days
and has no limit, M4 has never sent.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg

from ingest_daemon.contract.alarm_codes import DEVICE
from ingest_daemon.contract.alarm_ledger import Span, Window, replace_spans
from ingest_daemon.contract.ops_tables import migrate
from tests.postgres_server import Server, running_server

ZONE = "Asia/Shanghai"

TABLES = {
    "mart.interval_reading": (
        "meter text, interval_start timestamptz, interval_end timestamptz, day date, volume_m3 real8,"
        "reverse_m3 real8, flow_m3h real8,"
        "pressure_mpa real8, register_m3 real8, device_flow_m3h real8, seconds real8, flags bigint"
    ),
    "mart.daily_usage": (
        "meter text, day date, volume_m3 real8, reverse_m3 real8, flow_max_m3h real8, flow_min_m3h real8, flow_mean_m3h real8,"
        "coverage real8, complete boolean, clean boolean"
    ),
    "mart.monthly_usage": (
        "meter text, month date, volume_m3 real8, measured_m3 real8, days_complete bigint, complete boolean, clean boolean,"
        "days_in_month bigint, mean_day_m3 real8, reverse_m3 real8, coverage real8"
    ),
    "mart.hourly_coefficient": "meter text, hour_start timestamptz, day date, coefficient real8",
    "mart.daily_coefficient": "meter text, day date, month date, coefficient real8",
    "mart.peak_valley": (
        "meter text, grain text, period date, flow_max_m3h real8, flow_max_at timestamptz, flow_min_m3h real8,"
        "flow_min_at timestamptz,"
        "flow_mean_m3h real8, pressure_max_mpa real8, pressure_max_at timestamptz, pressure_min_mpa real8,"
        "pressure_min_at timestamptz,"
        "pressure_mean_mpa real8, coverage real8, complete boolean, known_h real8, pressures bigint"
    ),
    "mart.usage_comparison": (
        "meter text, grain text, period date, volume_m3 real8, previous_m3 real8, change_pct real8,"
        "last_year_m3 real8, yoy_pct real8,"
        "previous_comparable boolean, last_year_comparable boolean, change_m3 real8, yoy_m3 real8, elapsed_part boolean,"
        "last_day date, aligned_m3 real8, aligned_pct real8, coverage real8, previous_coverage real8,"
        "last_year_coverage real8, coverage_warning boolean, festival text"
    ),
    "mart.latest_status": (
        "meter text, customer_no text, customer_name text, reading_at timestamptz, register_m3 real8,"
        "reverse_m3 real8, flow_m3h real8,"
        "pressure_mpa real8, pressure_at timestamptz, pressure_low_mpa real8, battery_v real8, signal bigint,"
        "status bigint, today_m3 real8,"
        "today_coverage real8, month_m3 real8, received_at timestamptz, channel text, stream text, frame bigint,"
        "silent_after_h real8"
    ),
    "mart.customer": "customer_no text, name text, industry text, region text, address text, meters bigint, source text, "
    "industry_name text, region_name text, meters_manual bigint",
    "mart.meter": (
        "meter text, terminal text, customer_no text, customer_name text, dn_mm bigint, technology text, q1_m3h real8,"
        "q2_m3h real8,"
        "q3_m3h real8, q4_m3h real8, digits bigint, resolution_m3 real8, step_min bigint, reads text, pressure_low_mpa real8,"
        "pressure_high_mpa real8, installed_on date, removed_on date, book_no text, in_billing boolean,"
        "silent_after_h real8, source text, vendor text, elevation_m real8, latitude real8, longitude real8, datum text,"
        "node text, inlet_of text, runs_always boolean"
    ),
    "mart.data_quality": (
        "meter text, day date, readings bigint, expected_readings bigint, coverage real8, holes bigint, falls bigint,"
        "impossible_rises bigint,"
        "bridged bigint, rollovers bigint, replacements bigint, reversals bigint, resets bigint, off_grid bigint,"
        "conflicts bigint,"
        "complete boolean, clean boolean, refused bigint"
    ),
}

ALARMS = (
    ("P_LO", "M1", timedelta(hours=3), timedelta(hours=2), 0.13, 0.14, "MPa"),
    ("P_LO", "M2", timedelta(hours=25), None, 0.121, 0.14, "MPa"),
    ("BATT", "M2", timedelta(hours=26), None, 3.21, 3.3, "V"),
    ("DOOR", "M2", timedelta(minutes=1), None, None, None, ""),
)
"""Code, meter, how long ago it began and ended, value, limit, unit."""

INTERVALS = """
CREATE FUNCTION mart.intervals(meter text, from_at timestamptz, to_at timestamptz) RETURNS SETOF mart.interval_reading
LANGUAGE sql STABLE AS $$
    SELECT i.* FROM mart.interval_reading AS i WHERE i.meter = $1 AND i.interval_end BETWEEN $2 AND $3
$$
"""

ROWS = """
INSERT INTO mart.customer VALUES
  ('C1', '第一纺织厂', '纺织', '城东', '东路 1 号', 1, 'billing'), ('C2', '市人民医院', '医疗', '城西', NULL, 2, 'registry');
INSERT INTO mart.meter VALUES
  ('M1', '0001', 'C1', '第一纺织厂', 150, 'electromagnetic', 0.625, 1, 250, 312.5, 8, 0.1, 15, 'register', 0.14,
    0.6, '2024-03-01', NULL, 'B1', true, 36, 'smart'),
  ('M2', '0002', 'C2', '市人民医院', 100, 'ultrasonic', 0.4, 0.64, 160, 200, 8, 0.1, 15, 'register', 0.14, 0.6,
    '2024-03-01', NULL, 'B1', true, 36, 'smart'),
  ('M3', '0003', 'C2', '市人民医院', 80, 'ultrasonic', NULL, NULL, 63, NULL, 8, 0.1, 15, 'register', NULL, NULL,
    '2024-03-01', NULL, NULL, false, 36, 'smart'),
  ('M4', '0004', NULL, NULL, 80, NULL, NULL, NULL, NULL, NULL, 8, 0.1, 15, 'register', 0.14, NULL,
    '2024-03-01', NULL, NULL, false, 36, 'smart');
INSERT INTO mart.latest_status VALUES
  ('M1', 'C1', '第一纺织厂', now() - interval '10 min', 123456.7, 0, 42.4, 0.312, now() - interval '10 min', 0.14,
    3.61, 25, 0, 512.3, 0.98, 10123.4, now(), 'tcp', 'data', 1, 36),
  ('M2', 'C2', '市人民医院', now() - interval '25 h', 5678.9, 1.2, 3.2, 0.121, now() - interval '25 h', 0.14,
    3.21, 18, 1, 40.5, 0.5, 901.2, now(), 'tcp', 'data', 2, 36),
  ('M3', 'C2', '市人民医院', now() - interval '5 days', 77.1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, now() - interval '5 days', 'sms', 'data', 3, 36);
INSERT INTO ops.alarm_event VALUES
  ('M1', '0001', 'P_LO', 'raised', now() - interval '3 h', now(), 0.13, 0.14, 'MPa', 'device', 5),
  ('M1', '0001', 'P_LO', 'cleared', now() - interval '2 h', now(), 0.2, 0.14, 'MPa', 'device', 6),
  ('M2', '0002', 'P_LO', 'raised', now() - interval '25 h', now(), 0.121, 0.14, 'MPa', 'device', 7),
  ('M2', '0002', 'BATT', 'raised', now() - interval '26 h', now(), 3.21, 3.3, 'V', 'device', 8),
  ('M2', '0002', 'DOOR', 'raised', now() - interval '1 min', now(), NULL, NULL, '', 'device', 9);
INSERT INTO mart.interval_reading
SELECT 'M1', t - interval '15 min', t, (t AT TIME ZONE 'Asia/Shanghai')::date, v / 4, 0, v,
  0.30 + 0.05 * sin(extract(epoch FROM t) / 14000), 100000 + extract(epoch FROM t - now()) / 360, NULL, 900, 0
FROM (SELECT t, 45 + 30 * sin(extract(epoch FROM t) / 13000) AS v
      FROM generate_series(date_trunc('hour', now()) - interval '7 days', now(), interval '15 min') AS t) AS made
WHERE t NOT BETWEEN now() - interval '3 days' AND now() - interval '66 h';
INSERT INTO mart.daily_usage
SELECT 'M1', d::date, 900 + 100 * sin(extract(day FROM d)), 0, 75, 15, 40, 0.99, true, true
FROM generate_series(current_date - 40, current_date, interval '1 day') AS d;
INSERT INTO mart.data_quality
SELECT 'M1', d::date, 90, 96, CASE extract(day FROM d)::int % 7 WHEN 0 THEN 0.4 WHEN 3 THEN 0.8 ELSE 0.99 END,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, true, true, 0
FROM generate_series(current_date - 40, current_date, interval '1 day') AS d;
INSERT INTO mart.monthly_usage
SELECT 'M1', m::date, 27000, 26900, 29, true, true, 30, 900, 0, 0.97
FROM generate_series(date_trunc('month', current_date) - interval '14 months', current_date, interval '1 month') AS m;
INSERT INTO mart.hourly_coefficient
SELECT 'M1', d + h * interval '1 hour', d::date, 1 + 0.5 * sin(h / 4.0)
FROM generate_series(current_date::timestamptz - interval '3 days', current_date, interval '1 day') AS d,
    generate_series(0, 23) AS h;
INSERT INTO mart.daily_coefficient
SELECT meter, day, date_trunc('month', day)::date, volume_m3 / 900 FROM mart.daily_usage;
INSERT INTO mart.usage_comparison
SELECT meter, 'day', day, volume_m3, volume_m3 * 0.9, 11.1, NULL, NULL, true, false,
  volume_m3 * 0.1, NULL, false, NULL::date, NULL::double precision,
  NULL::double precision, coverage, coverage, NULL, false, NULL FROM mart.daily_usage
UNION ALL SELECT meter, 'month', month, volume_m3, 25000, 8, 30000, -10, true, true,
  2000, -3000, false, NULL::date, NULL::double precision,
  NULL::double precision, coverage, coverage, coverage, false, NULL FROM mart.monthly_usage;
INSERT INTO mart.peak_valley
SELECT meter, 'day', day, flow_max_m3h, day + time '10:15', flow_min_m3h, day + time '03:30', flow_mean_m3h,
    0.35, day + time '02:00',
  0.25, day + time '19:00', 0.3, coverage, extract(day FROM day)::int % 7 <> 0, 23.8, 96 FROM mart.daily_usage;
"""


@contextmanager
def mart_server() -> Iterator[str]:
    """A PostgreSQL on a free port of 127.0.0.1 with `TABLES` and `ROWS`; gives its DSN and takes everything away afterwards."""
    with stoppable_server() as server:
        yield server.dsn


@contextmanager
def stoppable_server() -> Iterator[Server]:
    """The same, which can be away for a while."""
    with running_server(16, {"timezone": ZONE, "jit": "off"}) as server:
        with psycopg.connect(server.dsn) as connection:
            fill(connection)
        yield server


BOARD_ROLE = """
ALTER ROLE mainflow_board SET default_transaction_read_only = on;
GRANT USAGE ON SCHEMA mart, ops TO mainflow_board;
GRANT SELECT ON ALL TABLES IN SCHEMA mart, ops TO mainflow_board
"""


def fill(connection: psycopg.Connection) -> None:
    """Make the tables and the invented rows, and the role that reads them."""
    connection.execute("CREATE SCHEMA mart; CREATE ROLE mainflow_board LOGIN; CREATE ROLE mainflow_desk LOGIN")
    migrate(connection)
    for name, columns in TABLES.items():
        connection.execute(f"CREATE TABLE {name} ({columns.replace('real8', 'double precision')})")
    connection.execute(INTERVALS)
    connection.execute(ROWS)
    now = datetime.now(UTC)
    for code, meter, began, ended, value, limit, unit in ALARMS:
        tell(connection, code, meter, now - began, now - ended if ended else None, value, limit, unit)
    connection.execute(BOARD_ROLE)


def tell(
    connection: psycopg.Connection,
    code: str,
    meter: str,
    begin: datetime,
    end: datetime | None,
    value: float | None = None,
    limit: float | None = None,
    unit: str = "",
) -> None:
    """Let a terminal have found that the condition of an alarm held from `begin` to `end`; None: it still does."""
    span = Span(meter, code, DEVICE, begin, end, value, limit, unit, "0001", 1, datetime.now(UTC))
    replace_spans(connection, code, DEVICE, [Window(meter, begin, end or begin)], [span], by="test")
    connection.commit()


def take_back(connection: psycopg.Connection, code: str, meter: str, begin: datetime) -> None:
    """Let it be known that the condition did not hold."""
    replace_spans(connection, code, DEVICE, [Window(meter, begin, begin)], [], by="test")
    connection.commit()
