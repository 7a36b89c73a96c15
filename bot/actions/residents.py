"""Residents: what they tell of themselves, where they belong, what they want and when they want to be forgotten."""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions.audit import Actor, record
from bot.actions.errors import ActionError
from bot.actions.waiting import UNWANTED_REASON
from bot.store.encryption import blind_index
from bot.store.models import (
    Community,
    CommunityOfficer,
    Conversation,
    Delivery,
    DeliveryState,
    LinkCode,
    MassJob,
    MassJobState,
    Media,
    Officer,
    Resident,
    ResidentAddress,
    StoredMessage,
    TaskState,
    Ticket,
    WeComContact,
    WeComTask,
)
from bot.store.search import forget_texts

OCCUPATIONS: Final = (
    "退休", "务农", "企业职工", "个体经营", "快递外卖", "司机", "学生", "教师", "医护", "财务会计",
    "公职人员", "全职家务", "建筑务工", "自由职业", "待业", "其他",
)  # fmt: skip
LANGUAGES: Final = {"zh": "中文", "en": "English"}
OLDEST_BIRTH_YEAR: Final = 1900
ERASED_TEXT: Final = "(居民已要求删除)"


def set_name(resident: Resident, name: str | None) -> None:
    resident.name = name
    resident.name_index = blind_index(name, "name") if name else None


def set_phone(resident: Resident, phone: str | None) -> None:
    resident.phone = phone
    resident.phone_index = blind_index(phone, "phone") if phone else None


def occupation_key(occupation: str) -> str | None:
    """The list's word for an occupation, if it is in the list."""
    return occupation if occupation in OCCUPATIONS else None


async def bind_community(
    session: AsyncSession, resident: Resident, community_id: int, *, how: str, actor: Actor
) -> None:
    """The resident belongs to this community now, and so to its officer. `how`: "qr", "told", "import"."""
    if resident.community_id == community_id:
        return
    resident.community_id = community_id
    await record(
        session, actor, "resident.community", f"resident:{resident.id}", details={"community": community_id, "how": how}
    )


async def community_of_code(session: AsyncSession, station_id: int, code: str) -> Community | None:
    """The community whose QR code carries this scene; a forged or old one belongs to none."""
    query = select(Community).where(Community.station_id == station_id, Community.code == code)
    return (await session.execute(query)).scalar_one_or_none()


async def communities(session: AsyncSession, station_id: int) -> list[Community]:
    query = select(Community).where(Community.station_id == station_id).order_by(Community.id)
    return list((await session.execute(query)).scalars())


async def officer_of(session: AsyncSession, station_id: int, community_id: int | None) -> Officer | None:
    """The community officer residents of this community are told about."""
    if community_id is None:
        return None
    query = (
        select(Officer)
        .join(CommunityOfficer, CommunityOfficer.officer_id == Officer.id)
        .where(
            CommunityOfficer.station_id == station_id,
            CommunityOfficer.community_id == community_id,
            CommunityOfficer.main,
            Officer.active,
        )
        .order_by(Officer.id)
        .limit(1)
    )
    return (await session.execute(query)).scalar_one_or_none()


async def describe(
    session: AsyncSession,
    resident: Resident,
    *,
    birth_year: int | None = None,
    occupation: str | None = None,
    language: str | None = None,
    actor: Actor,
) -> None:
    """What the resident told of himself; None leaves what is there."""
    changed = []
    if birth_year is not None and resident.birth_year != birth_year:
        resident.birth_year = birth_year
        changed.append("birth_year")
    if occupation is not None and resident.occupation != occupation:
        resident.occupation = occupation
        changed.append("occupation")
    if language is not None and resident.language != language:
        resident.language = language
        changed.append("language")
    if changed:
        resident.erased_at = None
        await record(session, actor, "resident.described", f"resident:{resident.id}", details={"fields": changed})


async def set_wants_warnings(session: AsyncSession, resident: Resident, wanted: bool, *, actor: Actor) -> None:
    """The resident wants warnings, or no more of them: then what waits for him does not leave either."""
    if resident.wants_warnings != wanted:
        resident.wants_warnings = wanted
        await record(session, actor, "resident.warnings", f"resident:{resident.id}", details={"wanted": wanted})
    if not wanted:
        await stop_waiting_warnings(session, resident)


async def stop_waiting_warnings(session: AsyncSession, resident: Resident) -> None:
    """He wants no warnings: those that wait for him do not leave."""
    his = and_(Delivery.resident_id == resident.id, Delivery.broadcast_id.is_not(None), ~_is_given_away())
    await _skip_waiting(session, his, UNWANTED_REASON)


def _is_given_away() -> ColumnElement[bool]:
    """A platform may have the list it stands in, from which nobody can be taken: how it ends is learnt there."""
    called = exists().where(
        MassJob.id == Delivery.mass_job_id, or_(MassJob.state != MassJobState.QUEUED, MassJob.unknown)
    )
    handed_in = exists().where(WeComTask.id == Delivery.task_id, WeComTask.state != TaskState.NEW)
    return or_(called, handed_in)


async def find_by_phone(session: AsyncSession, station_id: int, phone: str) -> Resident | None:
    query = (
        select(Resident)
        .where(Resident.station_id == station_id, Resident.phone_index == blind_index(phone, "phone"))
        .order_by(Resident.id)
        .limit(1)
    )
    return (await session.execute(query)).scalar_one_or_none()


async def find_by_name(session: AsyncSession, station_id: int, name: str) -> list[Resident]:
    """Everybody of exactly this name: names are encrypted, so there is no search by parts."""
    query = select(Resident).where(Resident.station_id == station_id, Resident.name_index == blind_index(name, "name"))
    return list((await session.execute(query.order_by(Resident.id))).scalars())


async def set_following(session: AsyncSession, address: ResidentAddress, following: bool, *, actor: Actor) -> None:
    """The resident followed or left the account; who left gets nothing more."""
    if address.following == following:
        return
    address.following, address.left_at = following, None if following else clock.now()
    await record(session, actor, "address.following" if following else "address.left", f"address:{address.id}")
    if not following:
        await _skip_waiting(session, Delivery.address_id == address.id, "居民已取消关注")


async def _skip_waiting(session: AsyncSession, whose: ColumnElement[bool], reason: str) -> None:
    """What waits in the outbox no longer leaves."""
    await session.execute(
        update(Delivery)
        .where(whose, Delivery.state == DeliveryState.QUEUED)
        .values(state=DeliveryState.SKIPPED, reason=reason, retry_at=None, finished_at=clock.now())
        .execution_options(synchronize_session=False)
    )


async def reveal(session: AsyncSession, resident: Resident, *, why: str, actor: Actor) -> None:
    """Somebody is about to see the unmasked name, phone and home: who, when and why are kept."""
    if len(why.strip()) < 2:
        raise ActionError("请写明查看完整信息的原因，例如“电话核实被骗情况”。")
    await record(session, actor, "resident.revealed", f"resident:{resident.id}", why=why.strip())


async def forget_profile(session: AsyncSession, resident: Resident, *, now: datetime, actor: Actor, why: str) -> None:
    """Take away what the resident told of himself; what was said stays as long as chat logs are kept, so that nobody
    wipes the trace of a fraud by leaving."""
    set_name(resident, None)
    set_phone(resident, None)
    resident.home = resident.gender = resident.birth_year = resident.occupation = resident.community_id = None
    resident.erased_at = now
    await record(session, actor, "resident.erased", f"resident:{resident.id}", why=why)


async def erase(session: AsyncSession, resident: Resident, *, now: datetime, actor: Actor, why: str) -> None:
    """Take away what the resident told of himself and what he wrote; tickets stay as figures without words.

    PIPL art. 47 asks for deletion on request; what a case needs is kept at the station by other rules, not here.
    """
    set_name(resident, None)
    set_phone(resident, None)
    resident.home = resident.gender = resident.birth_year = resident.occupation = resident.community_id = None
    resident.erased_at = now
    conversations = select(Conversation.id).where(Conversation.resident_id == resident.id)
    said = select(StoredMessage.text_index).where(
        StoredMessage.conversation_id.in_(conversations), StoredMessage.text_index.is_not(None)
    )
    texts = list((await session.execute(said)).scalars())
    await session.execute(
        update(StoredMessage)
        .where(StoredMessage.conversation_id.in_(conversations))
        .values(body=ERASED_TEXT, details=None, media_id=None, fetch_at=None, words=None, indexed=True, text_index=None)
    )
    await forget_texts(session, resident.station_id, [text for text in texts if text is not None])
    await session.execute(delete(Media).where(Media.conversation_id.in_(conversations)))
    await session.execute(
        update(Conversation)
        .where(Conversation.resident_id == resident.id)
        .values(dialogue=None, last_topic=None)  # what is under way holds his question
    )
    await _skip_waiting(session, Delivery.resident_id == resident.id, "居民已要求删除")
    await session.execute(update(Ticket).where(Ticket.resident_id == resident.id).values(subject=ERASED_TEXT))
    await session.execute(
        update(ResidentAddress)
        .where(ResidentAddress.resident_id == resident.id)
        .values(consented_at=None, union_id=None)
    )
    addresses = select(ResidentAddress.id).where(ResidentAddress.resident_id == resident.id)
    await session.execute(
        update(WeComContact).where(WeComContact.address_id.in_(addresses)).values(follow_up=None, welcome_code=None)
    )
    await session.execute(delete(LinkCode).where(LinkCode.address_id.in_(addresses)))
    await record(session, actor, "resident.erased", f"resident:{resident.id}", why=why)
