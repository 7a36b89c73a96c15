"""The words of the pages for learning and for the knowledge."""

from typing import Any, Final

from bot.actions.learning import Reason
from bot.store.models import VersionState

REASONS: Final = {
    Reason.CORRECTED: "民警改了主题",
    Reason.DISLIKED: "居民说没用",
    Reason.UNCHOSEN: "给了选项没选",
    Reason.UNKNOWN: "没听懂",
}
VERSION_STATES: Final = {
    VersionState.DRAFT: "草稿",
    VersionState.SUBMITTED: "待审批",
    VersionState.LIVE: "使用中",
    VersionState.RETIRED: "已停用",
    VersionState.REFUSED: "未通过",
}
DECISIONS: Final = {
    "answer": "直接回答",
    "clarify": "请居民从几个主题里选",
    "officer": "给建议并转民警",
    "refer": "指引到有关部门",
    "urgent": "按紧急情况处理",
    "chat": "当作寒暄",
    "unknown": "听不懂，提出转民警",
}
MEASURED: Final = {
    "labelled": "标注问题",
    "own": "本所已有问法",
    "shipped": "系统自带问法（抽样）",
    "new": "这次新增的问法",
}
ROUTES: Final = {"answer": "机器人直接回答", "officer": "先给建议，再转民警", "dept": "不归公安管，指引到部门"}
FAMILIES: Final = {
    "hukou": "户口",
    "idcard": "身份证",
    "permit": "居住证与暂住",
    "exit": "出入境",
    "traffic": "车驾管与交通",
    "fraud": "防诈骗",
    "case": "报案与案件",
    "dispute": "纠纷",
    "admin": "治安管理与证明",
    "safety": "安全防范",
    "station": "派出所服务",
    "dept": "其他部门的事",
    "emergency": "紧急情况",
    "own": "本所自己的词条",
}
FACETS: Final = {
    "bring": "要带什么",
    "fee": "费用",
    "time": "多久",
    "where": "去哪办",
    "online": "网上办",
    "agent": "代办",
    "minor": "孩子",
    "who": "谁能办",
}
# The fields of an entry's form: name, label, rows of the box (1 is a line), longest.
ENTRY_FIELDS: Final = (
    ("short", "简短回答", 3, 200, "一两句话说清楚，只看这句也够用。"),
    ("who", "谁能办", 1, 120, ""),
    ("bring", "要带什么", 3, 300, "每行一样。"),
    ("where", "去哪办", 1, 120, "可写 {station.address} 等本所设置。"),
    ("online", "网上办", 1, 120, ""),
    ("fee", "费用", 1, 80, ""),
    ("time", "多久", 1, 80, ""),
    ("agent", "代办", 1, 120, ""),
    ("minor", "孩子", 1, 120, ""),
    ("watch", "注意", 2, 200, ""),
)
WORSE_HINT: Final = "变差的句子会影响居民，确认可以接受再批准。"
FIELD_NAMES: Final = {
    "title": "标题",
    "route": "处理方式",
    "owner": "负责核对",
    "checked": "核对日期",
    "review_by": "复核日期",
    "sources": "依据",
    "department": "部门",
    "number": "热线",
    "cases": "特殊情况",
    "english": "英文回答",
    "followups": "追问",
} | {name: label for name, label, *_ in ENTRY_FIELDS}


def field_words(name: str, value: Any) -> str:
    """A field of an entry as the approver reads it."""
    if name == "route":
        return ROUTES.get(str(value), str(value))
    if isinstance(value, list):
        return "\n".join(field_words("", item) for item in value)
    if isinstance(value, dict):
        return "，".join(field_words("", item) for item in value.values())
    return str(value)
