"""Customer-service messages of the official account: custom/send, which spends the ledger, and custom/typing."""

from typing import Any

from tests.fakes.wechat.media import MediaStore
from tests.fakes.wechat.people import Follower, People
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import OK, Asked, Endpoints, Refusal

_KINDS = {"text", "image", "voice", "video", "music", "news", "mpnews", "mpnewsarticle", "msgmenu", "wxcard"}
_KINDS |= {"miniprogrampage", "link"}
_REFUSALS = {45015: "response out of time limit or subscription is canceled", 43004: "require subscribe"}


class CustomService:
    def __init__(self, platform: Platform, people: People, media: MediaStore) -> None:
        self.platform, self.people, self.media = platform, people, media

    def endpoints(self) -> Endpoints:
        return {("POST", "message/custom/send"): self._send, ("POST", "message/custom/typing"): self._typing}

    async def _send(self, asked: Asked) -> dict[str, Any]:
        body, now = asked.body, self.platform.now()
        person = self.people.access(body.get("touser"))
        kind = str(body.get("msgtype"))
        content = body.get(kind)
        if kind not in _KINDS or not isinstance(content, dict):
            raise Refusal(40008, "invalid message type")
        self._check_open(person)
        self._check_content(kind, content)
        person.window.left -= 1
        person.show({"msgtype": kind, kind: content, "at": now}, now, "api")
        return OK

    def _check_open(self, person: Follower) -> None:
        rules = self.platform.rules
        if person.refuses is not None:
            raise Refusal(person.refuses, "refused for this user")
        if not person.following:
            raise Refusal(rules.unfollowed_code, _REFUSALS.get(rules.unfollowed_code, "refused"))
        if self.platform.now() >= person.window.until:
            raise Refusal(rules.window_closed_code, _REFUSALS.get(rules.window_closed_code, "refused"))
        if person.window.left <= 0:
            raise Refusal(45047, "out of response count limit")

    def _check_content(self, kind: str, content: dict[str, Any]) -> None:
        match kind:
            case "text":
                text = content.get("content")
                if not isinstance(text, str) or not text:
                    raise Refusal(44004, "empty content")
                if len(text.encode()) > self.platform.rules.text_limit_bytes:
                    raise Refusal(45002, "content size out of limit")
            case "image" | "voice" | "video":
                self.media.check(content.get("media_id"))
            case "news":
                if len(content.get("articles") or ()) != 1:
                    raise Refusal(45008, "article size out of limit")
            case "msgmenu":
                choices = content.get("list")
                if not isinstance(choices, list) or not choices:
                    raise Refusal(44004, "empty menu")
                if any(not isinstance(one, dict) or not one.get("id") or not one.get("content") for one in choices):
                    raise Refusal(47001, "data format error")

    async def _typing(self, asked: Asked) -> dict[str, Any]:
        person, now = self.people.access(asked.body.get("touser")), self.platform.now()
        command = asked.body.get("command")
        if command not in {"Typing", "CancelTyping"}:
            raise Refusal(45072, "invalid command")
        if now - person.seen_at > 30:
            raise Refusal(45080, "can't typing without interaction in 30 seconds")
        if command == "Typing" and now < person.typing_until:
            raise Refusal(45081, "already typing")
        person.typing_until = now + 15 if command == "Typing" else 0
        return OK
