"""Mass sending: quotas for each resident and month, repeated submissions, the finishing event."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.wechat.clock import DAY
from tests.fakes.wechat.media import MediaStore
from tests.fakes.wechat.people import Follower, People
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import OK, Asked, Endpoints, Refusal, part, several, whole, words
from tests.fakes.wechat.tags import Tags

SENT = "send success"
_SPEEDS = {0: 800_000, 1: 600_000, 2: 450_000, 3: 300_000, 4: 100_000}  # a minute
PushEvent = Callable[[str, str, dict[str, str]], Awaitable[object]]


@dataclass
class MassJob:
    """One submission. `openids` were asked for, `sent` got it, `failed` could not; the rest was filtered silently."""

    msg_id: int
    clientmsgid: str
    openids: list[str]
    sent: list[str]
    submitted_at: float
    failed: list[str] = field(default_factory=list)
    to_all: bool = False
    kind: str = "text"
    status: str = SENT
    finished: bool = False
    deleted: bool = False

    def event(self, lost: int = 0) -> dict[str, str]:
        """What MASSSENDJOBFINISH says; with `lost`, the counts do not add up."""
        return {
            "MsgID": str(self.msg_id),
            "Status": self.status,
            "TotalCount": str(len(self.openids)),
            "FilterCount": str(len(self.sent) + len(self.failed)),
            "SentCount": str(len(self.sent) - lost),
            "ErrorCount": str(len(self.failed)),
        }


class MassSending:
    def __init__(self, platform: Platform, people: People, tags: Tags, media: MediaStore, push: PushEvent) -> None:
        self.platform, self.people, self.tags, self.media, self._push = platform, people, tags, media, push
        self.jobs: dict[str, MassJob] = {}  # by clientmsgid
        self.speed = 0
        self._failed_at: dict[str, float] = {}
        self._submitted: list[float] = []

    def endpoints(self) -> Endpoints:
        return {
            ("POST", "message/mass/send"): self._send,
            ("POST", "message/mass/sendall"): self._send_all,
            ("POST", "message/mass/preview"): self._preview,
            ("POST", "message/mass/get"): self._get,
            ("POST", "message/mass/delete"): self._delete,
            ("POST", "message/mass/speed/get"): self._speed,
            ("POST", "message/mass/speed/set"): self._set_speed,
        }

    def failed(self, asked: Asked) -> None:
        """A submission failed: the same clientmsgid within 60 s is too fast."""
        if asked.path in {"message/mass/send", "message/mass/sendall"}:
            self._failed_at[_number_of(asked.body)] = self.platform.now()

    async def _send(self, asked: Asked) -> dict[str, Any]:
        if self.platform.rules.account_type != "service":
            raise Refusal(40200, "this account type cannot send to a list")
        openids = several(asked.body, "touser")
        if len(openids) < 2:
            raise Refusal(40130, "invalid openid list size, at least two openid")
        if len(openids) > 10_000:
            raise Refusal(40032, "invalid openid list size")
        return await self._submit(asked, openids)

    async def _send_all(self, asked: Asked) -> dict[str, Any]:
        which = part(asked.body, "filter")
        following = [one for one in self.people.followers.values() if one.following]
        if which.get("is_to_all") is True:
            return await self._submit(asked, [one.openid for one in following], to_all=True)
        tag = whole(which, "tag_id", 0)
        if tag not in self.tags.held:
            raise Refusal(40152, "invalid group_id")
        return await self._submit(asked, [one.openid for one in following if tag in one.tags])

    async def _submit(self, asked: Asked, openids: list[str], *, to_all: bool = False) -> dict[str, Any]:
        number = self._check_number(asked.body)
        try:
            self._check_pace()
            kind, content = self._check_content(asked.body)
            self._check_quota(to_all=to_all)
        except Refusal:
            self.failed(asked)
            raise
        job = self._run(number, openids, kind, content, to_all=to_all)
        rules = self.platform.rules
        if rules.mass_finish == "before":
            await self._finish(job)
        elif rules.mass_finish in {"after", "lost"}:
            self.platform.clock.later(rules.mass_finish_seconds, lambda: self._finish(job))
        answer = {"errcode": 0, "errmsg": "send job submission success", "msg_id": job.msg_id}
        return answer | ({"msg_data_id": job.msg_id + 1} if kind == "mpnews" else {})

    def _run(self, number: str, openids: list[str], kind: str, content: Any, *, to_all: bool) -> MassJob:
        now, month = self.platform.now(), self.platform.clock.local().strftime("%Y-%m")
        status = self.platform.rules.mass_status
        job = MassJob(next(self.platform.numbers), number, openids, [], now, to_all=to_all, kind=kind, status=status)
        for openid in dict.fromkeys(openids):
            person = self.people.followers.get(openid)
            if person is None or not self._may_get(person, month):
                continue  # filtered silently
            if person.refuses is not None or status != SENT:
                job.failed.append(openid)
                continue
            person.mass_in_month[month] = person.mass_in_month.get(month, 0) + 1
            person.show({"msgtype": kind, kind: content, "at": now, "mass": number}, now, "mass")
            job.sent.append(openid)
        self.jobs[number] = job
        return job

    def _may_get(self, person: Follower, month: str) -> bool:
        return person.following and person.mass_in_month.get(month, 0) < self.platform.rules.mass_per_month

    async def _finish(self, job: MassJob) -> None:
        job.finished = True
        for _ in range(0 if self.platform.rules.mass_finish == "lost" else self.platform.rules.mass_finish_times):
            await self._push("mphelper", "MASSSENDJOBFINISH", job.event(self.platform.rules.mass_lost))

    def _check_number(self, body: dict[str, Any]) -> str:
        number, now = _number_of(body), self.platform.now()
        if len(number.encode()) > self.platform.rules.clientmsgid_limit_bytes:
            raise Refusal(45067, "clientmsgid size out of limit")
        held = self.jobs.get(number)
        if held is not None and now - held.submitted_at < DAY:
            raise Refusal(45065, "clientmsgid exist", msg_id=held.msg_id)
        if now - self._failed_at.get(number, float("-inf")) < 60:
            raise Refusal(45066, "same clientmsgid retry too fast")
        return number

    def _check_pace(self) -> None:
        now = self.platform.now()
        self._submitted = [at for at in self._submitted if now - at < 60]
        if len(self._submitted) >= self.platform.rules.mass_calls_per_minute:
            raise Refusal(45011, "api minute-quota reach limit")
        self._submitted.append(now)

    def _check_quota(self, *, to_all: bool) -> None:
        local = self.platform.clock.local()
        subscription = self.platform.rules.account_type == "subscription"
        counted = [job for job in self.jobs.values() if (job.to_all or subscription) and job.status == SENT]
        behind = [self.platform.now() - job.submitted_at for job in counted]
        today = local.hour * 3600 + local.minute * 60 + local.second
        this_month = today + (local.day - 1) * DAY
        if (to_all or subscription) and any(seconds <= today for seconds in behind):
            raise Refusal(45028, "has no masssend quota")
        if to_all and sum(seconds <= this_month for seconds in behind) >= self.platform.rules.mass_per_month:
            raise Refusal(45028, "has no masssend quota")

    def _check_content(self, body: dict[str, Any]) -> tuple[str, Any]:
        """The type and its object; pictures come as `image` or, newer, as `images`."""
        kind, form = words(body, "msgtype"), self.platform.rules.mass_image
        if kind == "wxcard":
            raise Refusal(45113, "wxcard is not supported any more")
        if kind not in {"text", "image", "voice", "mpvideo", "mpnews"}:
            raise Refusal(40008, "invalid message type")
        content = part(body, kind)
        if kind == "image" and form != "image" and (images := part(body, "images")):
            content = images
        elif kind == "image" and form == "images":
            raise Refusal(44004, "images missing")
        if kind == "text" and not content.get("content"):
            raise Refusal(44004, "empty content")
        if kind in {"image", "voice"}:
            ids = content.get("media_ids") or [content.get("media_id")]
            for media_id in ids:
                self.media.check(media_id)
        return kind, content

    async def _preview(self, asked: Asked) -> dict[str, Any]:
        kind, content = self._check_content(asked.body)
        person = self.people.access(asked.body.get("towxname") or asked.body.get("touser"))
        if not person.following:
            raise Refusal(43004, "require subscribe")
        now = self.platform.now()
        person.show({"msgtype": kind, kind: content, "at": now, "preview": True}, now, "preview")
        return {"errcode": 0, "errmsg": "preview success", "msg_id": next(self.platform.numbers)}

    def _job(self, asked: Asked) -> MassJob:
        number = str(asked.body.get("msg_id"))
        job = next((one for one in self.jobs.values() if str(one.msg_id) == number), None)
        if job is None:
            raise Refusal(40059, "invalid msg id")
        return job

    async def _get(self, asked: Asked) -> dict[str, Any]:
        job = self._job(asked)
        done = "SEND_SUCCESS" if job.status == SENT else "SEND_FAIL"
        return {"msg_id": job.msg_id, "msg_status": "DELETE" if job.deleted else done if job.finished else "SENDING"}

    async def _delete(self, asked: Asked) -> dict[str, Any]:
        job = self._job(asked)
        if job.kind not in {"mpnews", "mpvideo"}:
            raise Refusal(40008, "only articles and videos can be deleted")
        job.deleted = True
        return OK

    async def _speed(self, _: Asked) -> dict[str, Any]:
        return {"speed": self.speed, "realspeed": _SPEEDS[self.speed] // 10_000}

    async def _set_speed(self, asked: Asked) -> dict[str, Any]:
        speed = whole(asked.body, "speed", -1)
        if speed not in _SPEEDS:
            raise Refusal(45083, "invalid speed")
        self.speed = speed
        return OK


def _number_of(body: dict[str, Any]) -> str:
    """The clientmsgid; without one the platform derives it from content and range."""
    derived = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]
    return words(body, "clientmsgid") or derived
