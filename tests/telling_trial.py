"""What telling costs and how long it takes, through a real Grafana: `python -m tests.telling_trial`; GRAFANA_HOME names it.

Prints the rows and buffers that the rule reads with 200,000 settled alarms and none open, how long Grafana evaluates the rule
with none and with 2,000 open, and how long it is from the row of an alarm to its post, of 50.
"""

import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from dashboards.alerts import alarm
from dashboards.telling import WEBHOOK, Receiver
from tests.grafana_helpers import HOME, Grafana, eventually, running_grafana
from tests.mart_fixture import stoppable_server
from tests.robots import stand_in

COLUMNS = (
    "(meter, customer_no, customer_name, code, severity, origin, raised_at, cleared_at, unit, first_seen_at, settled_at, is_told)"
)
SETTLED = f"""
insert into ops.alarm {COLUMNS}
select 'M' || n % 20000, 'C' || n % 20000, '客户 ' || n % 20000, 'P_LO', 'warning', 'server', at, at + interval '1 hour', 'MPa',
  at, at + interval '1 hour', true
from (select n, now() - interval '7 hours' - n * interval '2 minutes' as at from generate_series(1, 200000) as n) as made"""
OPEN = f"""
insert into ops.alarm {COLUMNS}
select 'M' || n, 'C' || n, '客户 ' || n, 'P_LO', 'info', 'server', now(), null, 'MPa', now(), null, true
from generate_series(1, 2000) as n"""


def evaluation_s(grafana: Grafana, after: datetime) -> float:
    """How long Grafana's newest evaluation of the rule took, of those that began after a time."""

    def newest() -> float:
        groups = grafana.call("/api/prometheus/grafana/api/v1/rules")["data"]["groups"]
        (rule,) = [rule for group in groups for rule in group["rules"] if rule["uid"] == "alarm"]
        is_new = datetime.fromisoformat(rule["lastEvaluation"].replace("Z", "+00:00")) > after
        return float(rule["evaluationTime"]) if is_new else 0.0

    return eventually(newest)


def main() -> None:
    if HOME is None:
        sys.exit("expected GRAFANA_HOME to name a Grafana 12")
    with (
        tempfile.TemporaryDirectory() as folder,
        stoppable_server() as server,
        stand_in() as hook,
        psycopg.connect(server.dsn, autocommit=True) as connection,
    ):
        connection.execute("update ops.alarm set is_told = false")
        connection.execute(SETTLED)
        connection.execute("vacuum analyze ops.alarm")
        plan = connection.execute(f"explain (analyze, buffers) {alarm.QUERIES['A']}").fetchall()
        print("200,000 settled, none open:", *(line for (line,) in plan), sep="\n  ")
        receivers = [Receiver("trial", WEBHOOK, f"{hook.url}/webhook")]
        with running_grafana(Path(folder), server.dsn, receivers) as grafana:
            print(f"evaluation, none open: {evaluation_s(grafana, datetime.now(UTC)):.3f} s")
            began = {}
            for number in range(50):
                time.sleep(random.uniform(0.3, 3))
                (alarm_id,) = connection.execute(
                    f"insert into ops.alarm {COLUMNS} values ('M1', 'C1', 'x', 'P_LO', 'warning', 'server', now() - %s, null, "
                    "'MPa', now(), null, true) returning alarm_id",
                    [timedelta(minutes=number)],
                ).fetchone() or (0,)
                began[str(alarm_id)] = time.monotonic()
            eventually(lambda: len(hook.alerts()) >= len(began))
            posted = {post.body["alerts"][0]["labels"]["alarm"]: post.at for post in hook.to("/webhook")}
            took = [posted[alarm_id] - at for alarm_id, at in began.items()]
            print(f"from the row to the post, of {len(took)}: median {statistics.median(took):.1f} s, worst {max(took):.1f} s")
            connection.execute(OPEN)
            connection.execute("vacuum analyze ops.alarm")
            plan = connection.execute(f"explain (analyze, buffers) {alarm.QUERIES['A']}").fetchall()
            print("2,050 open:", *(line for (line,) in plan), sep="\n  ")
            for _ in range(3):
                print(f"evaluation, 2,050 open: {evaluation_s(grafana, datetime.now(UTC)):.3f} s", flush=True)
            print(f"posts: {len(hook.posts)}, alerts: {len(hook.alerts())}")


if __name__ == "__main__":
    main()
