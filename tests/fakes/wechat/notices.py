"""Template messages and subscription notices: fields checked by their kind, consents, the events of the result."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes.wechat.cipher import Markup
from tests.fakes.wechat.people import Follower, People
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import Asked, Endpoints, Refusal, part, words

DEDUPE_SECONDS = 600  # of client_msg_id; not stated, ten minutes by what people saw
PushEvent = Callable[[str, str, dict[str, str]], Awaitable[object]]
_LIMITS = {  # characters, by the name of the field without its number
    "thing": 20,
    "phrase": 5,
    "number": 32,
    "character_string": 32,
    "const": 20,
    "name": 10,
    "phone_number": 17,
    "car_number": 8,
    "letter": 32,
    "symbol": 5,
}


@dataclass(frozen=True)
class Template:
    """`fields` are the names its text holds: thing1, time2, character_string3, … or keyword1 of an old one."""

    id: str
    title: str
    fields: tuple[str, ...]


@dataclass
class Consent:
    """What a resident allowed for one subscription template: `once` messages, or `always`."""

    once: int = 0
    always: bool = False


class Notices:
    def __init__(self, platform: Platform, people: People, push: PushEvent) -> None:
        self.platform, self.people, self._push = platform, people, push
        self.templates: dict[str, Template] = {}
        self.subscriptions: dict[str, Template] = {}
        self.consents: dict[tuple[str, str], Consent] = {}
        self._sent: dict[tuple[str, str], tuple[float, int]] = {}

    def endpoints(self) -> Endpoints:
        return {
            ("POST", "message/template/send"): self._send_template,
            ("GET", "template/get_all_private_template"): self._list,
            ("POST", "message/subscribe/bizsend"): self._send_subscription,
        }

    def add_template(self, template_id: str, fields: tuple[str, ...], title: str = "预警提醒") -> Template:
        template = self.templates[template_id] = Template(template_id, title, fields)
        return template

    def add_subscription(self, template_id: str, fields: tuple[str, ...], title: str = "办理进度通知") -> Template:
        template = self.subscriptions[template_id] = Template(template_id, title, fields)
        return template

    # -- what residents do -----------------------------------------------------------------------------------------

    async def accept(self, openid: str, *template_ids: str, always: bool = False) -> object:
        """The resident allows these in the pop-up."""
        for template_id in template_ids:
            consent = self.consents.setdefault((openid, template_id), Consent())
            consent.once, consent.always = consent.once + (not always), consent.always or always
        return await self._popup(openid, template_ids, "accept")

    async def reject(self, openid: str, *template_ids: str) -> object:
        """The resident refuses these in the pop-up."""
        return await self._popup(openid, template_ids, "reject")

    async def revoke(self, openid: str, *template_ids: str) -> object:
        """The resident takes his consent back in the settings."""
        for template_id in template_ids:
            self.consents.pop((openid, template_id), None)
        rows = [{"TemplateId": one, "SubscribeStatusString": "reject"} for one in template_ids]
        return await self._push(openid, "subscribe_msg_change_event", _list("SubscribeMsgChangeEvent", rows))

    async def _popup(self, openid: str, template_ids: tuple[str, ...], status: str) -> object:
        rows = [{"TemplateId": one, "SubscribeStatusString": status, "PopupScene": "1"} for one in template_ids]
        return await self._push(openid, "subscribe_msg_popup_event", _list("SubscribeMsgPopupEvent", rows))

    # -- the API ---------------------------------------------------------------------------------------------------

    async def _send_template(self, asked: Asked) -> dict[str, Any]:
        body, now = asked.body, self.platform.now()
        person = self.people.access(body.get("touser"))
        template = self.templates.get(words(body, "template_id"))
        if template is None:
            raise Refusal(40037, "invalid template_id")
        if not person.following:
            raise Refusal(43004, "require subscribe")
        check_fields(template, part(body, "data"))
        number = words(body, "client_msg_id")
        at, held = self._sent.get((person.openid, number), (float("-inf"), 0))
        if number and now - at < DEDUPE_SECONDS:
            return {"errcode": 0, "errmsg": "ok", "msgid": held}
        msgid = next(self.platform.numbers)
        self._sent[person.openid, number] = (now, msgid)
        status = self.platform.rules.template_status
        if person.refuses is not None:
            status = "failed:user block"
        if status == "success":
            person.show({"msgtype": "template", "template": body, "at": now}, now, "template")
        event = {"MsgID": str(msgid), "Status": status}
        self._later(lambda: self._push(person.openid, "TEMPLATESENDJOBFINISH", event))
        return {"errcode": 0, "errmsg": "ok", "msgid": msgid}

    async def _list(self, _: Asked) -> dict[str, Any]:
        rows = [
            {
                "template_id": one.id,
                "title": one.title,
                "content": "".join(f"{{{{{name}.DATA}}}}" for name in one.fields),
            }
            for one in self.templates.values()
        ]
        return {"template_list": rows}

    async def _send_subscription(self, asked: Asked) -> dict[str, Any]:
        body = asked.body
        person = self.people.access(body.get("touser"))
        template = self.subscriptions.get(words(body, "template_id"))
        if template is None:
            raise Refusal(40037, "invalid template_id")
        check_fields(template, part(body, "data"))
        consent = self.consents.get((person.openid, template.id), Consent())
        if not consent.always:
            if consent.once <= 0:
                raise Refusal(43101, "user refuse to accept the msg")
            consent.once -= 1
        self._deliver(person, template, body)
        return {"errcode": 0, "errmsg": "ok"}

    def _deliver(self, person: Follower, template: Template, body: dict[str, Any]) -> None:
        now, failed = self.platform.now(), person.refuses is not None
        if not failed:
            person.show({"msgtype": "subscription", "subscription": body, "at": now}, now, "subscription")
        row = {
            "TemplateId": template.id,
            "MsgID": str(next(self.platform.numbers)),
            "ErrorCode": str(person.refuses or 0),
            "ErrorStatus": "failed" if failed else "success",
        }
        event = _list("SubscribeMsgSentEvent", [row])
        self._later(lambda: self._push(person.openid, "subscribe_msg_sent_event", event))

    def _later(self, push: Callable[[], Awaitable[object]]) -> None:
        self.platform.clock.later(self.platform.rules.notice_finish_seconds, push)


def check_fields(template: Template, data: dict[str, Any]) -> None:
    """47003 if a field of the template is missing, empty or too long for its kind."""
    for name in template.fields:
        given = data.get(name)
        value = given.get("value") if isinstance(given, dict) else None
        if not isinstance(value, str) or not value:
            raise Refusal(47003, f"argument invalid! data.{name}.value is empty")
        limit = _LIMITS.get(name.rstrip("0123456789"))
        if limit is not None and len(value) > limit:
            raise Refusal(47003, f"argument invalid! data.{name}.value is too long")


def _list(name: str, rows: list[dict[str, str]]) -> dict[str, str]:
    inner = "".join(
        f"<List>{''.join(f'<{key}><![CDATA[{value}]]></{key}>' for key, value in row.items())}</List>" for row in rows
    )
    return {name: Markup(inner)}
