"""What residents do without writing: follow, leave, scan a community's code."""

from bot.actions import followers, notices, residents
from bot.actions.audit import Actor
from bot.message import CODE_LASTS, EventKind, MessageKind, Reply
from bot.router import KEEP, Answer, Context, Router, Turn, is_event, is_held, is_kind
from handlers.menu import MENU_CHOICES
from handlers.texts import text

router = Router("events")


def _silent(context: Context) -> bool:
    return is_held(context) or (is_event(EventKind.ENTER)(context) and not _has_code(context))


def _has_code(context: Context) -> bool:
    """Who has not just written can be spoken to by the platform's code, while it lasts."""
    return "code" in context.message.extra and context.now < context.message.sent_at + CODE_LASTS


@router.handle(is_event(EventKind.SUBSCRIBE, EventKind.ENTER))
async def followed(context: Context) -> Answer:
    async def welcome(turn: Turn) -> Reply | None:
        actor = Actor(turn.conversation.station_id)
        await followers.came(turn.session, turn.conversation.address, actor=actor)
        lines = [
            text("welcome", english=context.english, station=context.station.name, years=context.station.years_kept)
        ]
        lines += await _bound(turn, "welcome_community")
        if turn.conversation.resident.birth_year is None:
            lines.append(text("invite_registration", english=context.english))
        return None if _silent(context) else Reply("\n".join(lines), MENU_CHOICES[context.english])

    return Answer(None, "event", dialogue=KEEP, act=welcome)


@router.handle(is_event(EventKind.SERVED))
async def served(context: Context) -> Answer:
    """A person in the platform's own client has said what there was to say: the bot listens again."""
    is_silent = is_held(context) or not _has_code(context)
    return Answer(None if is_silent else Reply(text("served", english=context.english)), "event", dialogue=KEEP)


@router.handle(is_event(EventKind.SCAN))
async def scanned(context: Context) -> Answer:
    async def bind(turn: Turn) -> Reply | None:
        lines = await _bound(turn, "scanned_community") or [text("menu", english=context.english)]
        return None if _silent(context) else Reply("\n".join(lines))

    return Answer(None, "event", dialogue=KEEP, act=bind)


async def _bound(turn: Turn, key: str) -> list[str]:
    """Link the resident to the community of the code; a forged or old code links to none."""
    event = turn.context.message.event
    community = (
        await residents.community_of_code(turn.session, turn.conversation.station_id, event.key) if event else None
    )
    if community is None:
        return []
    actor = Actor(turn.conversation.station_id)
    await residents.bind_community(turn.session, turn.conversation.resident, community.id, how="qr", actor=actor)
    officer = await residents.officer_of(turn.session, community.station_id, community.id)
    name = officer.name if officer else turn.context.station.name
    return [text(key, english=turn.context.english, community=community.name, officer=name)]


@router.handle(is_event(EventKind.UNSUBSCRIBE))
async def left(context: Context) -> Answer:
    async def stop(turn: Turn) -> None:
        actor = Actor(turn.conversation.station_id)
        await followers.left(turn.session, turn.conversation.address, actor=actor)

    return Answer(None, "event", act=stop)


def is_about_a_notice(context: Context) -> bool:
    event = context.message.event
    return event is not None and event.name.lower() in notices.EVENTS


@router.handle(is_kind(MessageKind.EVENT), is_about_a_notice)
async def noticed(context: Context) -> Answer:
    """He accepted or refused notices, or the platform says what became of one: book-keeping without a word."""

    async def keep(turn: Turn) -> None:
        await notices.apply(turn.session, turn.conversation.address, context.message, now=context.now)

    return Answer(None, "event", dialogue=KEEP, act=keep)


def is_about_privacy(context: Context) -> bool:
    event = context.message.event
    return event is not None and event.name.lower() in followers.REVOKED


@router.handle(is_kind(MessageKind.EVENT), is_about_privacy)
async def revoked(context: Context) -> Answer:
    """He takes back what he allowed the platform to tell us, or his account there is gone."""

    async def forget(turn: Turn) -> None:
        address, actor = turn.conversation.address, Actor(turn.conversation.station_id)
        await followers.forget_platform_data(turn.session, address, why="居民在平台撤回授权或注销账号", actor=actor)

    return Answer(None, "event", dialogue=KEEP, act=forget)


def is_other_event(context: Context) -> bool:
    event = context.message.event
    return event is None or event.kind is not EventKind.CLICK


@router.handle(is_kind(MessageKind.EVENT), is_other_event)
async def other(context: Context) -> Answer:
    """Stored and acknowledged; nothing to say."""
    return Answer(None, "event", dialogue=KEEP)
