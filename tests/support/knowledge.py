"""A small knowledge that always understands the same sentences alike, for stories in which the topic matters."""

import re
from collections.abc import Sequence
from typing import cast

from knowledge import Candidate, Decision, Knowledge, KnowledgeEntry, Match
from knowledge.answer import STATION_DEFAULTS
from knowledge.features import Reader
from knowledge.matching import Matcher

ENTRIES = (
    KnowledgeEntry(
        "idcard.lost",
        "身份证丢了补办",
        texts={"short": "带户口簿到任一派出所补办。", "fee": "工本费40元。", "where": "{station.address}"},
        english={"title": "Lost ID card", "short": "Bring your household book to any police station."},
    ),
    KnowledgeEntry("idcard.expired", "身份证到期换领", texts={"short": "带旧证到任一派出所换领。"}),
    KnowledgeEntry("idcard.unwritten", "身份证寄存", written=False),
    KnowledgeEntry("dispute.noise", "邻里噪声", route="officer", texts={"short": "先记下时间，不要争吵。"}),
    KnowledgeEntry(
        "dept.water",
        "停水报修",
        route="dept",
        department="自来水公司",
        number="96390",
        texts={"short": "由自来水公司处理。"},
    ),
    KnowledgeEntry(
        "emergency.fraud_paying",
        "正在转账给骗子",
        texts={"short": "马上停止转账，拨打110和96110。"},
        english={"title": "Stop the payment", "short": "Call 110 and 96110 now."},
    ),
    KnowledgeEntry(
        "emergency.violence",
        "正在被打",
        texts={"short": "先躲开，拨打110。"},
        english={"title": "You are in danger", "short": "Get away and call 110."},
    ),
)
_TITLES = {entry.topic: entry.title for entry in ENTRIES}
SAYINGS: dict[str, tuple[Decision, str | None]] = {
    "身份证丢了怎么办": (Decision.ANSWER, "idcard.lost"),
    "身份证丢了补办": (Decision.ANSWER, "idcard.lost"),
    "my id card is lost": (Decision.ANSWER, "idcard.lost"),
    "身份证到期换领": (Decision.ANSWER, "idcard.expired"),
    "楼上太吵了": (Decision.OFFICER, "dispute.noise"),
    "家里停水了": (Decision.REFER, "dept.water"),
    "身份证": (Decision.CLARIFY, "idcard.lost"),
    "id card": (Decision.CLARIFY, "idcard.lost"),
    "骗子让我正在转账": (Decision.URGENT, "emergency.fraud_paying"),
    "he is beating me": (Decision.URGENT, "emergency.violence"),
    "你好": (Decision.CHAT, None),
    "谢谢": (Decision.CHAT, None),
}
_PERHAPS = {  # what may be a call for help, and what it is otherwise
    "身份证被他抢走了不还": (Decision.ANSWER, "idcard.lost"),
    "someone took my id card": (Decision.ANSWER, "idcard.lost"),
    "隔壁在砸东西": (Decision.OFFICER, "dispute.noise"),
    "水管被人砸了": (Decision.REFER, "dept.water"),
    "身份证在他手里": (Decision.CLARIFY, "idcard.lost"),
    "那个人又来了": (Decision.UNKNOWN, None),
}
_CHOICES = ("idcard.lost", "idcard.expired", "idcard.unwritten")
_REPLIES = {"你好": "您好，请讲。", "谢谢": ""}


class KnownSayings(Knowledge):
    """Answers as the real knowledge does; matches only the sayings above, everything else is unknown."""

    def __init__(self) -> None:
        super().__init__(
            entries={entry.topic: entry for entry in ENTRIES},
            matcher=cast(Matcher, None),  # `match` below does without
            reader=cast(Reader, None),
            settings={},
            defaults=STATION_DEFAULTS,
        )

    def match(self, text: str, *, previous_topic: str | None = None) -> Match:
        said = text.strip().rstrip("。!！?？.").casefold()
        decision, topic = (SAYINGS | _PERHAPS).get(said, (Decision.UNKNOWN, None))
        facet = None
        if said == "多少钱" and previous_topic == "idcard.lost":
            decision, topic, facet = Decision.ANSWER, previous_topic, "fee"
        return Match(
            decision=decision,
            topic=topic,
            candidates=_candidates(_CHOICES if decision is Decision.CLARIFY else [topic] if topic else []),
            facet=facet,
            words=tuple(self.words(text)),
            language="zh" if re.search("[㐀-鿿]", text) or not re.search("[A-Za-z]{2}", text) else "en",
            also=None,
            reply=_REPLIES.get(said) if decision is Decision.CHAT else None,
            perhaps="emergency.violence" if said in _PERHAPS else None,
        )

    def words(self, text: str) -> list[str]:
        """Latin words, and each two Chinese characters that stand together."""
        runs = re.findall("[㐀-鿿]+|[A-Za-z0-9]+", text.casefold())
        return [word for run in runs for word in ([run] if run.isascii() else _pairs(run))]


def _pairs(run: str) -> list[str]:
    return [run[n : n + 2] for n in range(max(1, len(run) - 1))]


def _candidates(topics: Sequence[str]) -> tuple[Candidate, ...]:
    return tuple(Candidate(topic, 0.9 / (n + 1), _TITLES[topic]) for n, topic in enumerate(topics))
