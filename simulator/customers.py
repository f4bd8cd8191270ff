"""Who the customers are and which meters they have, with the words of the registry's codes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

Q3_M3H: dict[str, dict[int, float]] = {
    "rotary_vane": {25: 6.3, 40: 16, 50: 25},
    "woltmann": {50: 25, 65: 40, 80: 63, 100: 100, 125: 160, 150: 250, 200: 400},
    "ultrasonic": {50: 25, 65: 40, 80: 63, 100: 100, 125: 160, 150: 250, 200: 400},
    "electromagnetic": {50: 40, 65: 63, 80: 100, 100: 160, 125: 250, 150: 400, 200: 630},
}
"""Usual Q3 (m³/h) by technology and DN: the lower value of each cell of docs/domain.md#meter-flow-rates."""

R_RATIO = {"rotary_vane": 80, "woltmann": 100, "ultrasonic": 250, "electromagnetic": 400}
"""Q3/Q1 by technology; Q2 = 1.6 Q1 and Q4 = 1.25 Q3 (docs/domain.md#meter-flow-rates)."""


HISTORY_STEP_MIN = 60


@dataclass(frozen=True, slots=True)
class Meter:
    """One metering point: its customer's number (0: none's), its place, its meter, its terminal, and how water is used there."""

    number: int
    customer: int
    use: str
    mean_m3h: float
    technology: str
    dn_mm: int
    region: str
    line: str
    step_min: int = 15
    digits: int = 8
    resolution_m3: float = 0.1
    has_pressure: bool = True
    source: str = "smart"
    vendor: str | None = None
    inlet_of: str | None = None
    book: str = ""
    cycle_months: int = 1

    @property
    def terminal(self) -> str:
        return f"{31010000 + self.number:010d}"

    @property
    def earlier_terminal(self) -> str:
        """Its terminal in a history: another one where it reported by the hour then and does so more often now."""
        return self.terminal if self.step_min == HISTORY_STEP_MIN else f"{30010000 + self.number:010d}"

    @property
    def name(self) -> str:
        """The utility's own name of the meter."""
        return f"M{self.number:03d}"

    @property
    def customer_no(self) -> str | None:
        return f"K{10000 + self.customer}" if self.customer else None

    @property
    def book_no(self) -> str:
        """The meter-reading book: one a line where it has none of its own."""
        return self.book or f"B{int(self.line[1:]):02d}"

    @property
    def modulus_m3(self) -> float:
        return float(round(10**self.digits * self.resolution_m3, 3))

    @property
    def rates_m3h(self) -> tuple[float, float, float, float]:
        """Q1, Q2, Q3, Q4."""
        q3 = Q3_M3H[self.technology][self.dn_mm]
        q1 = q3 / R_RATIO[self.technology]
        return round(q1, 4), round(1.6 * q1, 4), q3, 1.25 * q3


class Customer(NamedTuple):
    """A customer in the billing system. `group`: the number of the group of companies it belongs to."""

    name: str
    industry: str
    address: str
    group: str | None = None


CUSTOMERS: dict[int, Customer] = {
    1: Customer("东港机械制造有限公司", "manufacture", "东港路 18 号"),
    2: Customer("华纶印染有限公司", "manufacture", "工业大道 66 号"),
    3: Customer("滨江国际大酒店", "hotel", "滨江路 1 号"),
    4: Customer("市第一人民医院", "hospital", "健康路 120 号"),
    5: Customer("市实验中学", "school", "学府路 9 号"),
    6: Customer("金融中心大厦", "office", "世纪大道 200 号"),
    7: Customer("阳光花园小区", "housing", "阳光路 33 弄"),
    8: Customer("城北农贸市场", "market", "北市街 5 号"),
    9: Customer("地铁三号线项目部", "construction", "环城北路工地"),
    10: Customer("雪峰啤酒有限公司", "food", "工业大道 101 号"),
    11: Customer("洁雅洗涤服务有限公司", "laundry", "清水路 77 号"),
    12: Customer("老棉纺厂宿舍", "housing", "棉纺路 12 弄"),
    13: Customer("科创产业园", "office", "创新路 8 号"),
    14: Customer("港务集团第二码头", "transport", "港口路 2 号"),
    15: Customer("高地雅苑小区", "housing", "高岗路 21 弄"),
    16: Customer("晨光乳业有限公司", "food", "工业大道 88 号"),
    17: Customer("市火车站", "transport", "站前广场 1 号"),
    18: Customer("市游泳馆", "sport", "体育路 15 号"),
    19: Customer("东海大学", "school", "大学路 100 号"),
    20: Customer("锦程物流园", "office", "高新一路 6 号"),
    21: Customer("云顶纯净水厂", "food", "高新一路 18 号", "J02"),
    22: Customer("佳洁布草洗涤厂", "laundry", "高新二路 3 号"),
    23: Customer("华新写字楼", "office", "高新二路 5 号", "J02"),
    24: Customer("顺达电镀厂", "manufacture", "高新三路 9 号"),
    25: Customer("南湖科技城", "office", "南湖路 1 号"),
    26: Customer("南湖人家小区", "housing", "南湖路 20 弄"),
    27: Customer("老街面馆", "market", "老街 3 号"),
    28: Customer("便民超市", "market", "老街 11 号"),
    29: Customer("仁心诊所", "hospital", "老街 15 号"),
    30: Customer("小金星幼儿园", "school", "老街 20 号"),
    31: Customer("老街理发店", "market", "老街 27 号"),
    32: Customer("鑫达汽修", "manufacture", "环城北路 41 号"),
    33: Customer("兴旺五金加工", "manufacture", "环城北路 43 号"),
    34: Customer("邻里洗车", "laundry", "环城北路 52 号"),
    35: Customer("北市街道办", "office", "北市街 90 号"),
    36: Customer("供销社仓库", "office", "北市街 101 号"),
    37: Customer("平安旅馆", "hotel", "站前路 8 号"),
    38: Customer("站前快餐", "market", "站前路 10 号"),
    39: Customer("公交首末站", "transport", "站前路 30 号"),
    40: Customer("滨江步行街水站", "market", "滨江路 88 号"),
    41: Customer("文化馆", "office", "滨江路 120 号"),
    42: Customer("老年活动中心", "office", "健康路 6 号"),
    43: Customer("健康路菜店", "market", "健康路 9 号"),
    44: Customer("豆制品作坊", "food", "健康路 77 号"),
    45: Customer("健康路洗衣店", "laundry", "健康路 80 号"),
    46: Customer("棉纺路小学", "school", "棉纺路 3 号"),
    47: Customer("棉纺路菜场", "market", "棉纺路 30 号"),
    48: Customer("学府书店", "office", "学府路 21 号"),
    49: Customer("学府路快餐", "market", "学府路 23 号"),
    50: Customer("创新路打印社", "office", "创新路 12 号"),
}

METERS: tuple[Meter, ...] = (
    Meter(1, 1, "day_shift", 14, "electromagnetic", 100, "east", "L1"),
    Meter(2, 2, "three_shift", 120, "electromagnetic", 200, "east", "L1", step_min=5, resolution_m3=1),
    Meter(3, 3, "hotel", 9, "ultrasonic", 80, "centre", "L3", resolution_m3=0.01),
    Meter(4, 4, "hospital", 38, "electromagnetic", 150, "centre", "L3"),
    Meter(5, 4, "hospital", 16, "electromagnetic", 100, "centre", "L4"),
    Meter(6, 5, "school", 6, "ultrasonic", 80, "centre", "L4", resolution_m3=0.01),
    Meter(7, 6, "office", 5, "ultrasonic", 80, "centre", "L3", resolution_m3=0.01),
    Meter(8, 7, "housing", 26, "ultrasonic", 150, "north", "L5"),
    Meter(9, 8, "market", 3, "rotary_vane", 50, "north", "L5", has_pressure=False),
    Meter(10, 9, "site", 5, "woltmann", 80, "north", "L6", has_pressure=False),
    Meter(11, 10, "brewery", 45, "electromagnetic", 150, "east", "L2", step_min=5),
    Meter(12, 11, "laundry", 7, "ultrasonic", 65, "north", "L6", resolution_m3=0.01),
    Meter(13, 12, "housing", 1.1, "woltmann", 150, "north", "L5"),
    Meter(14, 13, "office", 8, "ultrasonic", 100, "east", "L2", resolution_m3=0.01),
    Meter(15, 14, "three_shift", 12, "electromagnetic", 100, "east", "L2"),
    Meter(16, 15, "housing", 11, "ultrasonic", 100, "north", "L6"),
    Meter(17, 16, "day_shift", 20, "woltmann", 100, "east", "L1"),
    Meter(18, 17, "station", 22, "ultrasonic", 125, "centre", "L4", digits=6),
    Meter(19, 18, "pool", 6, "ultrasonic", 80, "centre", "L3", resolution_m3=0.01),
    Meter(20, 19, "school", 60, "electromagnetic", 200, "north", "L5", step_min=5, resolution_m3=1),
)

MORE_METERS: tuple[Meter, ...] = (
    Meter(21, 20, "office", 0.6, "ultrasonic", 100, "east", "L7", resolution_m3=0.01),
    Meter(22, 21, "three_shift", 22, "ultrasonic", 50, "east", "L7", resolution_m3=0.01),
    Meter(23, 22, "laundry", 5, "ultrasonic", 65, "east", "L7", resolution_m3=0.01),
    Meter(24, 23, "office", 8, "ultrasonic", 80, "east", "L7", resolution_m3=0.01),
    Meter(25, 24, "three_shift", 9, "electromagnetic", 80, "east", "L7"),
    Meter(26, 0, "supply", 38, "electromagnetic", 200, "east", "L7", inlet_of="L7"),
    Meter(27, 25, "office", 6, "ultrasonic", 80, "centre", "L3", step_min=60, source="amr", vendor="V02"),
    Meter(28, 26, "housing", 9, "ultrasonic", 100, "north", "L5", step_min=60, source="amr", vendor="V02"),
)
"""Meters that a fleet with a history has as well: a zone with its inlet, and two that another company's system reads."""


def _by_hand() -> Iterator[Meter]:
    uses = {"manufacture": "day_shift", "food": "three_shift", "transport": "station"}
    for place, customer in enumerate(sorted(CUSTOMERS)[26:]):
        industry = CUSTOMERS[customer].industry
        mean, dn, region = (0.35, 0.7, 0.5, 0.25, 0.9, 0.6)[place % 6], (25, 40)[place % 2], ("north", "centre")[place // 12]
        yield Meter(
            *(29 + place, customer, uses.get(industry, industry), mean, "rotary_vane", dn, region, "L6"),
            has_pressure=False,
            resolution_m3=1,
            digits=6,
            source="manual",
            book="B08" if place < 3 else "B09",
            cycle_months=1 if place < 3 else 2,
        )


BY_HAND = tuple(_by_hand())
"""Meters of small customers in a fleet with a history: read by hand, most of them every other month."""


INDUSTRIES = {
    "manufacture": ("制造业", "Manufacture"),
    "hotel": ("宾馆酒店", "Hotel"),
    "hospital": ("医疗卫生", "Hospital"),
    "school": ("教育", "Education"),
    "office": ("办公商务", "Offices"),
    "housing": ("居民小区", "Housing"),
    "market": ("集贸市场", "Market"),
    "construction": ("建筑施工", "Construction"),
    "food": ("食品饮料", "Food and drink"),
    "laundry": ("洗涤", "Laundry"),
    "transport": ("交通运输", "Transport"),
    "sport": ("体育场馆", "Sport"),
}
REGIONS = {"east": ("东区", "East"), "centre": ("中区", "Centre"), "north": ("北区", "North")}
NETWORKS = {"N1": ("一水厂管网", "Waterworks 1 network"), "N2": ("二水厂管网", "Waterworks 2 network")}
LINES = {
    "L1": ("工业大道 DN600", "Industry Avenue DN600"),
    "L2": ("港口路 DN500", "Port Road DN500"),
    "L3": ("滨江路 DN400", "Riverside Road DN400"),
    "L4": ("学府路 DN400", "College Road DN400"),
    "L5": ("北市街 DN300", "North Market Street DN300"),
    "L6": ("环城北路 DN300", "North Ring Road DN300"),
    "L7": ("高新区分区", "Science Park zone"),
}
GROUPS = {
    "J02": ("云顶集团", "Cloud Top group"),
    "G1": ("重点工业用户", "Key industry"),
    "G2": ("公共机构", "Public bodies"),
    "G3": ("节水考核用户", "Saving targets"),
}
TECHNOLOGIES = {
    "rotary_vane": ("旋翼式", "Rotary vane"),
    "woltmann": ("水平螺翼式", "Woltmann"),
    "ultrasonic": ("超声波", "Ultrasonic"),
    "electromagnetic": ("电磁", "Electromagnetic"),
}
VENDORS = {"V02": ("华测远传系统", "Huace remote reading")}
VOCABULARY = {
    "industry": INDUSTRIES,
    "region": REGIONS,
    "network": NETWORKS,
    "line": LINES,
    "group": GROUPS,
    "technology": TECHNOLOGIES,
    "vendor": VENDORS,
}
INSTALLED_ON = date(2020, 6, 1)
