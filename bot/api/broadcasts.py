"""Warnings: drafted, measured, submitted, sealed by a second person, sent back, stopped, counted."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import audiences, results
from bot.actions import broadcasts as actions
from bot.actions.audiences import Audience, Reach
from bot.actions.broadcasts import Draft
from bot.actions.residents import OCCUPATIONS
from bot.api.call import LARGEST_ID, Call
from bot.api.guard import invalid
from bot.api.problems import FieldError
from bot.api.shapes import Answer, MaskedResident, Moment, Nothing, Page, Paged, Person, Place, Request, Text, Why
from bot.api.texts import DISTANT_MOMENT, NO_SUCH_COMMUNITY, NO_SUCH_OCCUPATION, PAST_MOMENT
from bot.store import listings
from bot.store.access import access_broadcast
from bot.store.models import Broadcast, BroadcastState, DeliveryState, Repeat
from bot.store.station_queries import last_sent_back, residents_by_number, stopped_because

_OLDEST_YEARS = 120
_MOST_COMMUNITIES = 200


# --- what comes in --------------------------------------------------------------------------------------------------


def _known_occupation(name: str) -> str:
    if name not in OCCUPATIONS:
        raise PydanticCustomError("occupation", NO_SUCH_OCCUPATION)
    return name


_Occupation = Annotated[
    str, AfterValidator(_known_occupation), WithJsonSchema({"type": "string", "enum": list(OCCUPATIONS)})
]
_RowId = Annotated[int, Field(ge=1, le=LARGEST_ID)]


class AudienceShape(Request):
    """Whom a warning is for; what is left out or empty does not narrow."""

    age_from: int | None = Field(None, ge=0, le=_OLDEST_YEARS)
    age_to: int | None = Field(None, ge=0, le=_OLDEST_YEARS)
    occupations: tuple[_Occupation, ...] = Field((), max_length=len(OCCUPATIONS))
    communities: tuple[_RowId, ...] = Field((), max_length=_MOST_COMMUNITIES)
    languages: tuple[Literal["zh", "en"], ...] = Field((), max_length=2)
    genders: tuple[Literal["female", "male"], ...] = Field((), max_length=2)

    def audience(self) -> Audience:
        return Audience(**self.model_dump())


class AskedBroadcasts(Paged):
    state: BroadcastState | None = None


class Written(Request):
    title: Text = Field(min_length=1, max_length=actions.TITLE_CHARACTERS)
    body: Text = Field(min_length=1, max_length=actions.BODY_CHARACTERS)
    audience: AudienceShape
    repeat: Repeat = Repeat.ONCE
    send_at: Moment | None = Field(None, description="空表示审批后立即发送")
    expires_at: Moment | None = Field(None, description="此后不再发送")


class AskedReach(Request):
    audience: AudienceShape


class Approved(Request):
    seal: Text = Field(pattern="^[0-9a-f]{64}$", description="您审阅的内容的封签，见提醒的 seal；内容已改则不能审批")


class Because(Request):
    why: Why


# --- what goes out --------------------------------------------------------------------------------------------------


class BroadcastAnswer(Answer):
    id: int
    title: str
    state: BroadcastState
    repeat: Repeat
    send_at: datetime | None
    expires_at: datetime | None
    author: Person
    approver: Person | None
    created_at: datetime
    submitted_at: datetime | None
    approved_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


class Broadcasts(Page):
    broadcasts: tuple[BroadcastAnswer, ...]


class AudienceAnswer(Answer):
    """As it was written, even if the lists of choices are others by now."""

    age_from: int | None
    age_to: int | None
    occupations: tuple[str, ...]
    communities: tuple[int, ...]
    languages: tuple[str, ...]
    genders: tuple[str, ...]


class ReasonAnswer(Answer):
    reason: str
    count: int


class MassAnswer(Answer):
    """What the platform says of the mass calls of a warning; it never says whom it reached."""

    jobs: int
    submitted: int
    awaited: bool = Field(description="微信还没有全部回报结果")
    filtered: int | None = Field(description="平台过滤的人数，无法知道是谁；空表示还不知道")
    reasons: tuple[str, ...]


class ProgressAnswer(Answer):
    """Deliveries by state, and why some did not arrive."""

    total: int
    arrived: int
    submitted: int = Field(description="已提交微信群发，不知道每个人是否收到")
    waiting: int = Field(description="等居民下次来消息时送达")
    ended: int
    states: dict[DeliveryState, int]
    reasons: tuple[ReasonAnswer, ...]


class WholeBroadcast(Answer):
    broadcast: BroadcastAnswer
    body: str
    has_picture: bool = Field(description="文字下面还有一张图片，在工作台上看")
    audience: AudienceAnswer
    seal: str = Field(description="现在的内容、图片、对象和时间的封签，审批时原样提交")
    progress: ProgressAnswer
    mass: MassAnswer | None = Field(description="微信群发的情况；没有群发时为空")
    sent_back_because: str | None
    stopped_because: str | None


class SampleAnswer(MaskedResident):
    community: Place | None


class ReachAnswer(Answer):
    count: int = Field(description="符合条件的人数")
    reachable: int = Field(description="其中有可用的联系渠道、能收到的人数")
    samples: tuple[SampleAnswer, ...]


class StoppedAnswer(Answer):
    broadcast: BroadcastAnswer
    skipped: int = Field(description="还没发出、因此不再发送的条数")


def _broadcast(row: Broadcast) -> BroadcastAnswer:
    return BroadcastAnswer(
        id=row.id,
        title=row.title,
        state=row.state,
        repeat=row.repeat,
        send_at=row.send_at,
        expires_at=row.expires_at,
        author=Person.of(row.author),
        approver=Person.of(row.approver) if row.approver else None,
        created_at=row.created_at,
        submitted_at=row.submitted_at,
        approved_at=row.approved_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


# --- reading --------------------------------------------------------------------------------------------------------


async def show_all(call: Call, asked: AskedBroadcasts) -> Broadcasts:
    """Newest first."""
    async with call.store.read() as session:
        rows, more = await listings.broadcasts(session, call.station_id, state=asked.state, page=asked.page)
    return Broadcasts(page=asked.page, more=more, broadcasts=tuple(_broadcast(row) for row in rows))


async def show(call: Call, _given: Nothing) -> WholeBroadcast:
    async with call.store.read() as session:
        row = await access_broadcast(session, call.station_id, call.row_id)
        progress = await results.progress(session, row.id)
        summary = await results.mass_summary(session, row.id)
        sent_back = await last_sent_back(session, call.station_id, row.id)
        stopped = await stopped_because(session, call.station_id, row.id)
    return WholeBroadcast(
        broadcast=_broadcast(row),
        body=row.body,
        has_picture=row.media_id is not None,
        audience=AudienceAnswer(**asdict(Audience.from_json(row.audience))),
        seal=actions.seal_of(row),
        progress=ProgressAnswer(
            total=progress.total,
            arrived=progress.arrived,
            submitted=progress.submitted,
            waiting=progress.waiting,
            ended=progress.ended,
            states=progress.states,
            reasons=tuple(ReasonAnswer(reason=reason, count=count) for reason, count in progress.reasons),
        ),
        mass=_mass(summary),
        sent_back_because=sent_back.why if sent_back else None,
        stopped_because=stopped.why if stopped else None,
    )


def _mass(summary: results.MassSummary | None) -> MassAnswer | None:
    if summary is None:
        return None
    return MassAnswer(
        jobs=summary.jobs,
        submitted=summary.submitted,
        awaited=summary.awaited,
        filtered=summary.filtered,
        reasons=tuple(summary.reasons),
    )


async def reach(call: Call, given: AskedReach) -> ReachAnswer:
    """How many residents are meant right now, and a few of them, masked."""
    async with call.store.read() as session:
        await _check_communities(session, call, given.audience.communities)
        found: Reach = await audiences.reach(session, call.station_id, given.audience.audience())
        samples = await residents_by_number(session, call.station_id, [resident.id for resident in found.samples])
    return ReachAnswer(
        count=found.count,
        reachable=found.reachable,
        samples=tuple(
            SampleAnswer(**MaskedResident.of(resident).model_dump(), community=Place.of(resident.community))
            for resident in samples
        ),
    )


async def _check_communities(session: AsyncSession, call: Call, numbers: Iterable[int]) -> None:
    unknown = await listings.unknown_communities(session, call.station_id, numbers)
    if unknown:
        ids = "、".join(str(number) for number in sorted(unknown)[:5])
        raise invalid(FieldError(field="audience.communities", detail=NO_SUCH_COMMUNITY.format(ids=ids)))


# --- writing and sealing --------------------------------------------------------------------------------------------


async def create(call: Call, given: Written) -> BroadcastAnswer:
    """A draft; nothing is sent before somebody else has sealed it."""
    _check_times(given)
    draft = Draft(
        title=given.title,
        body=given.body,
        audience=given.audience.audience(),
        repeat=given.repeat,
        send_at=given.send_at,
        expires_at=given.expires_at,
    )
    async with call.store.write() as session:
        await _check_communities(session, call, given.audience.communities)
        row = await actions.create(session, call.officer, draft, actor=call.actor)
        row_id = row.id
    return await _now(call, row_id)


def _check_times(given: Written) -> None:
    """What a person would only get wrong by mistake: a time that is over, or next year's."""
    now = clock.now()
    for field, moment in (("send_at", given.send_at), ("expires_at", given.expires_at)):
        if moment is not None and moment <= now:
            raise invalid(FieldError(field=field, detail=PAST_MOMENT))
        if moment is not None and moment > now + actions.FURTHEST:
            raise invalid(FieldError(field=field, detail=DISTANT_MOMENT))


async def _now(call: Call, row_id: int) -> BroadcastAnswer:
    async with call.store.read() as session:
        return _broadcast(await access_broadcast(session, call.station_id, row_id))


async def _do(call: Call, deed: Callable[[AsyncSession, Broadcast], Awaitable[None]]) -> BroadcastAnswer:
    """One change of a warning in one transaction, then the warning as it is."""
    async with call.store.write() as session:
        row = await access_broadcast(session, call.station_id, call.row_id, lock=True)
        await deed(session, row)
    return await _now(call, call.row_id)


async def submit(call: Call, _given: Nothing) -> BroadcastAnswer:
    return await _do(call, lambda session, row: actions.submit(session, row, actor=call.actor))


async def approve(call: Call, given: Approved) -> BroadcastAnswer:
    return await _do(
        call, lambda session, row: actions.approve(session, row, call.officer, seal=given.seal, actor=call.actor)
    )


async def send_back(call: Call, given: Because) -> BroadcastAnswer:
    return await _do(
        call, lambda session, row: actions.send_back(session, row, call.officer, why=given.why, actor=call.actor)
    )


async def stop(call: Call, given: Because) -> StoppedAnswer:
    async with call.store.write() as session:
        row = await access_broadcast(session, call.station_id, call.row_id, lock=True)
        skipped = await actions.stop(session, row, why=given.why, actor=call.actor)
    return StoppedAnswer(broadcast=await _now(call, call.row_id), skipped=skipped)
