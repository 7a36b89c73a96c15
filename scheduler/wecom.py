"""What runs on the clock for WeCom: officers are told, friends greeted and compared, warnings become tasks."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot import clock
from bot.actions import contacts, followers, friends, officer_notices, wecom_planning, wecom_tasks
from bot.actions.contacts import Met
from bot.actions.officer_notices import Due, Titles
from bot.actions.wecom_tasks import Ask, HandIn, Seek
from bot.store.engine import Store
from bot.wecom import Card, Fate, WeComApp, WeComRefused, Why, folded

WRITTEN_AT_ONCE = 100  # ends of deliveries in one transaction
LOOKED_UP_AT_ONCE = 50
ASKED_AT_ONCE = 500  # friends of one officer whom WeCom did not list; the next comparison goes on

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeComDesk:
    """What these jobs work with. `greeting`: the first words to a new friend, as code and text."""

    store: Store
    station_id: int
    timezone: str
    app: WeComApp
    public_url: str
    on_call: Sequence[str]  # userids
    titles: Titles
    greeting: Callable[[Met], tuple[str, str]]
    warnings_a_day: int = 1


# --- officers -------------------------------------------------------------------------------------------------------


async def tell_officers(desk: WeComDesk) -> None:
    """New tickets, and urgent ones again until they are taken."""
    now = clock.now()
    async with desk.store.write() as session:
        await officer_notices.plan(
            session,
            desk.station_id,
            on_call=bool(desk.on_call),
            timezone=desk.timezone,
            titles=desk.titles,
            now=now,
        )
        due = await officer_notices.claim(session, desk.station_id, now=now)
    for notice in due:
        await _tell(desk, notice)


async def _tell(desk: WeComDesk, notice: Due) -> None:
    """To its officers; when it reaches none of them, to those on call."""
    card = Card(notice.title, notice.text, desk.public_url.rstrip("/") + notice.path)
    unreached: frozenset[str] = frozenset()
    try:
        if notice.userids:
            unreached = await desk.app.tell(notice.userids, card)
        reached = [userid for userid in notice.userids if userid not in unreached]
        if reached:
            async with desk.store.write() as session:
                await officer_notices.sent(session, notice.id, reached, sorted(unreached))
            return
        on_call = list(dict.fromkeys(folded(userid) for userid in desk.on_call))
        if not on_call or await desk.app.tell(on_call, card) >= set(on_call):
            log.error("officers not reached in WeCom", extra={"notice_id": notice.id})
            async with desk.store.write() as session:
                await officer_notices.failed(
                    session, notice.id, officer_notices.UNREACHED_CODE, officer_notices.UNREACHED
                )
                await officer_notices.note_problems(session, notice.id, (), sorted(unreached))
            return
        async with desk.store.write() as session:
            await officer_notices.sent(session, notice.id, (), sorted(unreached))
    except WeComRefused as error:
        # An unknown outcome is tried again too: WeCom shows the same words to the same people only once.
        log.warning("officers not told in WeCom", extra={"notice_id": notice.id, "code": error.code})
        async with desk.store.write() as session:
            if error.why is Why.NEVER:
                await officer_notices.failed(session, notice.id, error.code, error.reason)
            else:
                await officer_notices.again(session, notice.id, error.code, error.reason, error.after)


# --- new friends ----------------------------------------------------------------------------------------------------


async def send_welcomes(desk: WeComDesk) -> None:
    """Welcomes that a stop or a fault cut short, while WeCom still takes them."""
    async with desk.store.write() as session:
        met = [
            (found.contact.id, *desk.greeting(found))
            for found in await contacts.claim_welcomes(session, desk.station_id, now=clock.now())
        ]
    for contact, code, text in met:
        try:
            arrived = await desk.app.welcome(code, text)
        except WeComRefused as error:
            log.warning("welcome not sent", extra={"contact_id": contact, "code": error.code})
            continue
        async with desk.store.write() as session:
            await contacts.greeted(session, contact, arrived=arrived)


# --- who they are -----------------------------------------------------------------------------------------------------


async def look_up_friends(desk: WeComDesk) -> None:
    """Whom WeCom knows by the number of the station's other platforms is one resident with his addresses there."""
    async with desk.store.write() as session:
        new = await followers.claim_unknown(
            session, desk.station_id, desk.app.name, most=LOOKED_UP_AT_ONCE, now=clock.now()
        )
    for number, address in enumerate(new):
        try:
            who = await desk.app.who_is(address.address)
        except WeComRefused as error:
            log.warning("friend not looked up in WeCom", extra={"address_id": address.id, "code": error.code})
            if error.why is Why.NEVER:
                continue
            async with desk.store.write() as session:
                await followers.give_back(session, new[number:])
            return
        async with desk.store.write() as session:
            await followers.take_in(
                session, address.id, following=True, union_id=who.union_id, english=False, now=clock.now()
            )


async def compare_friends(desk: WeComDesk) -> None:
    """What WeCom's events did not tell: who came, who left, who was given to another officer.

    One call after the other, each for a hundred friends: far below the 10,000 a minute that WeCom allows.
    """
    while desk.app.customer_contact:
        now = clock.now()
        async with desk.store.write() as session:
            officer = await friends.claim_officer(session, desk.station_id, now=now)
        if officer is None or officer.wecom_userid is None:
            return
        try:
            await _compare(desk, officer.wecom_userid, now)
        except WeComRefused as error:
            log.warning("friends not compared with WeCom", extra={"officer_id": officer.id, "code": error.code})
            if error.why is Why.NEVER:  # no such member, or he has no 客户联系
                continue
            async with desk.store.write() as session:
                await friends.again(session, officer.id, error.after)
            return
        async with desk.store.write() as session:
            await friends.compared(session, officer.id, now=now)


async def _compare(desk: WeComDesk, userid: str, now: datetime) -> None:
    since = now - friends.SETTLED
    listed: set[str] = set()
    cursor, more = "", True
    while more:
        before = cursor
        page, cursor = await desk.app.friends(userid, cursor)
        listed.update(friend.external_userid for friend in page)
        async with desk.store.read() as session:
            new = await friends.unknown(session, desk.station_id, userid, page, now=now)
        if new:
            log.info("friends found in WeCom", extra={"count": len(new)})
            async with desk.store.write() as session:
                await contacts.found_here(session, desk.station_id, desk.app.name, userid, new, at=since)
        more = bool(cursor) and cursor != before
    async with desk.store.read() as session:
        missing = await friends.missing(session, desk.station_id, userid, listed, now=now)
    for external_userid in missing[:ASKED_AT_ONCE]:
        who = await desk.app.who_is(external_userid)  # a list cut short makes nobody leave
        if userid in who.members:
            continue
        tell = contacts.found_transferred if who.given_to else contacts.found_gone
        async with desk.store.write() as session:
            await tell(session, desk.station_id, userid, [external_userid], at=since)


# --- warnings -------------------------------------------------------------------------------------------------------


async def move_tasks(desk: WeComDesk) -> None:
    """Put warnings into tasks, hand them in, ask what became of them; each step its own transaction."""
    more = True
    while more:
        async with desk.store.write() as session:
            more = bool(
                await wecom_planning.make(
                    session, desk.station_id, a_day=desk.warnings_a_day, timezone=desk.timezone, now=clock.now()
                )
            )
    async with desk.store.write() as session:
        await wecom_tasks.hasten_stopped(session, desk.station_id, now=clock.now())
    while True:
        async with desk.store.write() as session:
            task = await wecom_tasks.claim_new(session, desk.station_id, now=clock.now())
        if task is None:
            break
        if task.external_userids:
            await _hand_in(desk, task)
    while True:
        async with desk.store.write() as session:
            seek = await wecom_tasks.claim_sought(session, desk.station_id, now=clock.now())
        if seek is None:
            break
        await _seek(desk, seek)
    while True:
        async with desk.store.write() as session:
            ask = await wecom_tasks.claim_waiting(session, desk.station_id, now=clock.now())
        if ask is None:
            return
        await _ask(desk, ask)


async def _hand_in(desk: WeComDesk, task: HandIn) -> None:
    try:
        handed = await desk.app.hand_in(task.userid, task.text, task.external_userids, picture=task.picture)
    except WeComRefused as error:
        log.warning("warning not handed in to WeCom", extra={"task_id": task.id, "code": error.code})
        async with desk.store.write() as session:
            await wecom_tasks.not_handed_in(
                session,
                task.id,
                error.code,
                error.reason,
                again=error.why in (Why.AGAIN, Why.DOWN),
                unknown=error.why is Why.UNKNOWN,
                after=error.after,
            )
        return
    async with desk.store.write() as session:
        await wecom_tasks.handed_in(session, task.id, handed.msgid, sorted(handed.failed))


async def _seek(desk: WeComDesk, seek: Seek) -> None:
    """Whether WeCom has a task although its answer was lost."""
    try:
        found = await desk.app.search(seek.userid, seek.text, since=seek.since, until=seek.until, without=seek.others)
    except WeComRefused as error:
        log.warning("warning not looked for in WeCom", extra={"task_id": seek.id, "code": error.code})
        async with desk.store.write() as session:
            await wecom_tasks.not_sought(
                session, seek.id, error.code, again=error.why is not Why.NEVER, after=error.after
            )
        return
    log.info("warning looked for in WeCom", extra={"task_id": seek.id, "found": len(found)})
    async with desk.store.write() as session:
        await wecom_tasks.sought(session, seek.id, found)


async def _ask(desk: WeComDesk, ask: Ask) -> None:
    """All pages, written in parts: a resident's message never waits long for the database."""
    try:
        if ask.cancel:
            await _take_back(desk, ask)
        cursor, more = "", True
        while more:
            fates, cursor = await desk.app.fates(ask.msgid, ask.userid, cursor)
            known = list(fates.items())
            for start in range(0, len(known), WRITTEN_AT_ONCE):
                await _learn(desk, ask, dict(known[start : start + WRITTEN_AT_ONCE]))
            more = bool(cursor)
    except WeComRefused as error:
        log.warning("WeCom not asked about a warning", extra={"task_id": ask.id, "code": error.code})
        async with desk.store.write() as session:
            await wecom_tasks.ask_again(session, ask.id, error.code, error.after)
        return
    async with desk.store.write() as session:
        await wecom_tasks.asked(session, ask.id, cancelled=ask.cancel)


async def _learn(desk: WeComDesk, ask: Ask, fates: Mapping[str, Fate]) -> None:
    gone = [resident for resident, fate in fates.items() if fate is Fate.NO_FRIEND]
    async with desk.store.write() as session:
        await wecom_tasks.learnt(session, ask.id, fates)
        if gone:
            await wecom_tasks.note_left(session, ask.id, gone)


async def _take_back(desk: WeComDesk, ask: Ask) -> None:
    try:
        await desk.app.cancel(ask.msgid)
    except WeComRefused as error:
        if error.why is not Why.NEVER:
            raise
        # There is nothing left to take back: what was sent is asked for next.
        log.warning("warning not taken back in WeCom", extra={"task_id": ask.id, "code": error.code})
