"""The section `[commands]`: commands to terminals."""

from dataclasses import dataclass

from ingest_daemon.contract.settings import section, setting


@section("commands")
@dataclass(frozen=True, slots=True)
class CommandSettings:
    """`[commands]`: questions to terminals."""

    set_clock: bool = setting(False, "whether a terminal's clock may be set from here", "是否允许对终端校时")
    per_terminal: int = setting(64, "most questions that wait for one terminal", "单终端最多待发问", minimum=1)
    per_contact: int = setting(4, "most questions put to a terminal at one contact", "每次上线最多问", minimum=1)
    per_day: int = setting(96, "most questions put to a terminal in 24 hours", "每 24 小时最多问", minimum=1)
    tries: int = setting(3, "contacts at which a question is put before it counts as failed", "问几次无应答算失败", minimum=1)
    answer_s: float = setting(30.0, "an answer is waited for this many seconds", "等待应答秒数", minimum=0.1)
    expire_h: float = setting(
        168.0, "a question that waits longer than this many hours is dropped", "待发过期小时数", minimum=0.1
    )
    recall: bool = setting(True, "whether holes are asked for after each run, where the protocol can", "计算后自动补召缺数")
    recall_h: float = setting(744.0, "holes further back than this many hours are not asked for", "自动补召回溯小时数", minimum=1)
