"""`python -m benchmarks`: runs the probes, prints the table, writes it as JSON."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.figures import Figure, Unable, table
from benchmarks.machine import compile_tools, cores, describe
from benchmarks.parties import Parties
from benchmarks.run import Run

OUT = Path(tempfile.gettempdir()) / "mainflow-benchmarks"
"""`--out` should be on a disk where this is in memory: what a sync costs is half of what is measured."""


class Entry(NamedTuple):
    """Where a probe is: module and function, and what it measures, for `--help`."""

    module: str
    function: str
    zh: str
    en: str


PROBES = {
    "p1": Entry("reception", "limit", "接收与 C 回显之比", "reception against a C echo"),
    "p2": Entry("nodered", "peer", "与 Node-RED 之比（经 npm 安装）", "against Node-RED (installed from npm)"),
    "p3": Entry("reception", "slow_disk", "磁盘慢 5 ms 时的应答", "acknowledgements with a disk 5 ms slower"),
    "p4": Entry(
        "crowd", "crowd", "一万连接的内存与二十万终端重连", "memory of 10,000 connections, 200,000 terminals reconnecting"
    ),
    "storm2": Entry(
        "storm", "storm", "二十万终端经负载均衡重连两个采集进程", "200,000 terminals reconnecting over a balancer and two daemons"
    ),
    "p5": Entry("reception", "bad_frames", "一成坏帧的代价", "what 10 % bad frames cost"),
    "p6": Entry("forwarding", "forwarding", "转发到 InfluxDB 与预制数据之比", "forwarding into InfluxDB against prebuilt bodies"),
    "p7": Entry("figures_cost", "kernel", "计算与裸扫描、DuckDB、pandas 之比", "figures against a bare scan, DuckDB and pandas"),
    "whole": Entry("whole", "whole_run", "整次 mainflow run 与裸扫描之比", "a whole mainflow run against a bare scan"),
    "p13": Entry("whole", "dagster_run", "Dagster 一天的运行", "a Dagster run of one day"),
    "newday": Entry("whole", "new_day", "四百天历史上的新一天", "a new day on 400 days of history"),
    "fresh": Entry("whole", "freshness", "报文到看板的时间", "from a frame to the board"),
    "alarm": Entry("alarms", "soon", "报文到报警的时间", "from a frame to its alarm"),
    "spark": Entry("spark", "against_spark", "小时与日指标与 Spark SQL 之比", "hourly and daily figures against Spark SQL"),
    "p8": Entry("figures_cost", "growth", "一天的代价随表数的增长", "cost of a day from 2,000 to 200,000 meters"),
    "region": Entry("figures_cost", "region", "一百万块表一天的代价与内存", "cost and memory of a day of 1,000,000 meters"),
    "p9": Entry("figures_cost", "late_day", "迟到一天的代价", "cost of one late day"),
    "p10": Entry("figures_cost", "engines", "两个工作者与一个之比，多进程与 Ray", "two workers against one: processes and Ray"),
    "lake": Entry("lake", "lake", "数据湖与单站归档之比", "a lake against the embedded archive"),
    "p12": Entry("serving", "serving", "发布区间的代价与看板查询", "publishing intervals, and how long panels wait"),
    "served": Entry("served", "served", "一百万块表的每个看板查询", "every query of the boards over a million meters"),
    "p14": Entry(
        "reports", "data_sheet", "报表工作簿与 xlsxwriter 逐格写之比", "a report's data sheet against xlsxwriter's loop"
    ),
    "hostile": Entry("hostile", "hostile", "三百个恶意连接旁的应答", "acknowledgements beside 300 hostile connections"),
    "stack": Entry(
        "whole_stack",
        "loaded_stack",
        "整套服务旁的恶意连接",
        "the same with 2,000 terminals on the whole stack, memory by process",
    ),
    "r029": Entry("crowd", "day", "两千块表一天的内存", "memory of a day of 2,000 meters"),
    "r032": Entry("link", "thin_link", "512 kbit/s 链路上的一天", "a day of 2,000 meters through 512 kbit/s"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; gives the exit code (1: a probe failed; 2: a compiler or an argument is missing)."""
    listing = "\n".join(f"  {name:9}{each.zh} / {each.en}" for name, each in PROBES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"性能测量：同一次运行中并排比较 / benchmarks: ratios side by side in one run\n\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default=",".join(PROBES), help="用逗号分隔 / separated by commas, for example p1,p5")
    parser.add_argument("--seconds", type=float, default=3.0, help="每次测量的秒数 / seconds of each measurement (3)")
    parser.add_argument("--rounds", type=int, default=3, help="交替的轮数 / alternating rounds (3)")
    parser.add_argument("--out", type=Path, default=OUT, help=f"结果与临时站点所在目录 / folder of results and sites ({OUT})")
    asked = parser.parse_args(arguments)
    chosen = [name for name in asked.only.lower().split(",") if name]
    if unknown := [name for name in chosen if name not in PROBES]:
        parser.error(f"--only {', '.join(unknown)}: 未知 / unknown; 可选 / allowed: {', '.join(PROBES)}")
    if asked.seconds <= 0 or asked.rounds < 1:
        parser.error("--seconds 须大于 0，--rounds 至少 1 / --seconds must be above 0 and --rounds at least 1")
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=asked.out, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        try:
            parties = Parties(compile_tools(folder), cores(), folder)
        except Unable as error:
            print(error, file=sys.stderr)
            return 2
        run = Run(parties, folder, asked.seconds, asked.rounds, lambda what: print(what, file=sys.stderr, flush=True))
        return _report(asked.out, run, chosen)


def _report(out: Path, run: Run, chosen: Sequence[str]) -> int:
    machine = {**describe(run.folder), "server core": str(run.parties.cores.server), "load core": str(run.parties.cores.load)}
    figures: list[Figure] = []
    unable: dict[str, str] = {}
    failed: dict[str, str] = {}
    for name in chosen:
        entry = PROBES[name]
        try:
            figures += getattr(import_module(f"benchmarks.{entry.module}"), entry.function)(run)
        except Unable as error:
            unable[name] = str(error)
        except (OSError, RuntimeError) as error:
            failed[name] = str(error)
    told: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": run.seconds,
        "rounds": run.rounds,
        "machine": machine,
        "figures": [figure.row() for figure in figures],
        "unable": unable,
        "failed": failed,
    }
    path = out / "latest.json"
    path.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print("\n".join(f"{key}: {value}" for key, value in machine.items()))
    print(f"\n{table(figures)}\n" if figures else "")
    for title, reasons in (("没有测量 / not measured", unable), ("失败 / failed", failed)):
        for name, reason in reasons.items():
            print(f"{title} {name}: {reason}")
    print(f"JSON: {path}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
