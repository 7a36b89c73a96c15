"""One bubble in a chat, as a phone shows it."""

from dataclasses import dataclass, field
from typing import Any, Literal

Side = Literal["person", "account", "notice"]

FAULT_NOTICE = "该公众号暂时无法提供服务，请稍后再试"


@dataclass(frozen=True)
class Bubble:
    """`by`: the resident himself, the account (or its officer), or grey words of the app in the middle.

    `message` is what was sent: the API's body for what came through the API (`via` "api", "mass", "template", …),
    the XML's children for an answer in the response (`via` "answer").
    """

    by: Side
    kind: str
    words: str
    at: float
    via: str = ""
    message: dict[str, Any] = field(default_factory=dict)


def words_of(kind: str, content: dict[str, Any]) -> str:
    """What a message of the API looks like in a chat."""
    match kind:
        case "text" | "markdown":
            return str(content.get("content", ""))
        case "msgmenu":
            lines = [str(content.get("head_content", ""))]
            for one in content.get("list") or ():
                inner = one if "content" in one else one.get(str(one.get("type")), {})
                lines.append(f"· {inner.get('content') or inner.get('title', '')}")
            return "\n".join([*lines, str(content.get("tail_content", ""))]).strip()
        case "news":
            return "\n".join(str(one.get("title", "")) for one in content.get("articles") or ())
        case "link" | "miniprogram" | "textcard":
            return f"{content.get('title', '')}\n{content.get('desc') or content.get('description', '')}".strip()
        case _:
            return f"[{kind}]"
