"""What people may name as the cause of an alarm: those that are shipped, and those of the site's vocabulary (kind `cause`)."""

from collections.abc import Mapping

from desk.words import Word
from ingest_daemon.contract.log import RateLimitedLog
from ingest_daemon.contract.registry_schema import read_csv
from ingest_daemon.contract.site import Site

KIND = "cause"

SHIPPED: Mapping[str, Word] = {
    "network": Word("管网波动", "Network fluctuation"),
    "pumping": Word("违规抽水", "Illegal pumping"),
    "theft": Word("人为偷水", "Theft"),
    "check_valve": Word("止回阀故障", "Check valve fault"),
    "burst": Word("爆管漏水", "Burst or leak"),
    "equipment": Word("设备故障", "Equipment fault"),
    "works": Word("检修施工", "Repair or works"),
    "usage": Word("用户用水变化", "Change of the customer's use"),
    "false_alarm": Word("误报", "False alarm"),
    "unclear": Word("原因待查", "To be looked into"),
}

_LIMITED = RateLimitedLog()


def causes(site: Site) -> dict[str, Word]:
    """By code, the site's own first; one of its rows with a shipped code gives that other words."""
    own = _own(site)
    return own | {code: word for code, word in SHIPPED.items() if code not in own}


def _own(site: Site) -> dict[str, Word]:
    path = site.registry / "vocabulary.csv"
    try:
        table = read_csv(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        _LIMITED.warn("vocabulary", f"{path}: causes are those that are shipped: {error}")
        return {}
    rows = (dict(zip(table.columns, cells, strict=False)) for cells in table.rows)
    own = [row for row in rows if row.get("kind") == KIND and row.get("code")]
    return {row["code"]: Word(*(row.get(name) or row["code"] for name in Word._fields)) for row in own}
