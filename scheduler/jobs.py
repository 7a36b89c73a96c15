"""The jobs and how often each runs; what is due stands in the rows."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from bot import clock
from bot.actions import (
    audit,
    broadcasts,
    followers,
    linking,
    mass,
    mass_planning,
    media,
    messages,
    parking,
    recipients,
    reminders,
    retention,
    wecom_planning,
)
from bot.channels.base import Acquainted, Channel, Failure, FollowerKeeper, Pulled, SendError, is_mended
from bot.store import search
from bot.store.engine import Store
from scheduler import followers as followers_list
from scheduler import wecom
from scheduler.mass import MassOutbox
from scheduler.outbox import PARKED_FOR, Outbox
from scheduler.wecom import WeComDesk

_MENDED_ONE_DAY = frozenset({Failure.RETRY, Failure.CHANNEL_DOWN})
INDEXING_PAUSE_SECONDS = 0.05  # between two parts: residents who write at this moment go first

log = logging.getLogger(__name__)

Resume = Callable[[int], Awaitable[None]]  # the dispatcher's: handle a stored message that never was
Refresh = Callable[[], Awaitable[bool]]  # the runtime's: take over what was made live by another process


@dataclass(frozen=True)
class Desk:
    """What the jobs work with."""

    store: Store
    station_id: int
    timezone: str
    messages_kept: timedelta
    visitors_kept: timedelta  # web visitors who never came back
    channels: Mapping[str, Channel]
    outbox: Outbox
    mass: MassOutbox
    resume: Resume
    words: search.Words
    leavers_kept: timedelta = timedelta(days=30)  # residents who stopped following: some only by mistake
    refresh: Refresh | None = None  # None: this process answers nobody
    wecom: WeComDesk | None = None  # None: the station has no WeCom


async def send_deliveries(desk: Desk) -> None:
    """Retries, and what was promised while nobody woke the outbox."""
    await desk.outbox.work()


async def try_parked(desk: Desk) -> None:
    """Channels that stood still go again when the time is over or somebody has mended what was wrong, also when nothing
    waits to be sent."""
    async with desk.store.read() as session:
        rows = await parking.over(session, desk.station_id, now=clock.now())
    for row in rows:
        is_gone = row.channel not in desk.channels  # from the settings: there is nothing left to mend
        mended = row.heals or is_gone or await is_mended(desk.channels[row.channel], row.code)
        async with desk.store.write() as session:
            if mended:
                await parking.unpark(session, desk.station_id, row.channel)
            elif mended is False:
                await parking.prolong(session, desk.station_id, row.channel, until=clock.now() + PARKED_FOR)


async def send_mass(desk: Desk) -> None:
    """Warnings that reach thousands with one call."""
    await desk.mass.work()


async def move_broadcasts(desk: Desk) -> None:
    """Start what is due, write the next delivery rows, end what has ended; each step its own transaction.

    Nothing is sent here: the outbox works through a warning for hours, and meanwhile another one may fall due.
    """
    async with desk.store.write() as session:
        for broadcast in await broadcasts.claim_due(session, desk.station_id):
            await broadcasts.start(session, broadcast)
    rules = {name: channel.rules for name, channel in desk.channels.items()}
    more = True
    while more:
        async with desk.store.write() as session:
            more = False
            for broadcast in await broadcasts.claim_sending(session, desk.station_id):
                if not broadcast.expanded:
                    await recipients.expand(session, broadcast, rules)
                    more = True
                    if desk.wecom is not None:
                        await wecom_planning.take_over(session, broadcast, desk.wecom.app.name)
                elif broadcasts.is_sealed(broadcast):
                    more |= await mass_planning.plan(session, broadcast, rules, now=clock.now())
    async with desk.store.write() as session:
        await mass.stop_waiting(session, desk.station_id, now=clock.now())
        for broadcast in await broadcasts.claim_sending(session, desk.station_id):
            await broadcasts.finish_if_ended(session, broadcast)
    more = True
    while more:
        async with desk.store.write() as session:
            more = False
            for broadcast in await recipients.claim_cut_short(session, desk.station_id):
                if await recipients.expand_skipped(session, broadcast):
                    more = True


async def resume_messages(desk: Desk) -> None:
    """Messages that were stored and never handled: the process died, or handling failed."""
    async with desk.store.write() as session:
        ids = await messages.claim_unhandled(session, desk.station_id, now=clock.now())
    for message_id in ids:
        await desk.resume(message_id)


async def pull_messages(desk: Desk) -> None:
    """Messages of which no callback came: the platform does not promise one, and we may have been away."""
    pulled = [channel.pull() for channel in desk.channels.values() if isinstance(channel, Pulled)]
    await asyncio.gather(*pulled)


async def fetch_pictures(desk: Desk) -> None:
    """Pictures that residents sent and the platform keeps only for three days."""
    async with desk.store.read() as session:
        wanted = await media.unfetched(session, desk.station_id, now=clock.now())
    for message_id, channel_name, platform_media in wanted:
        channel = desk.channels.get(channel_name)
        if channel is None:
            continue
        try:
            picture = await channel.fetch_picture(platform_media)
        except SendError as error:
            log.warning("picture not fetched", extra={"message_id": message_id, "code": error.code})
            async with desk.store.write() as session:
                await media.not_fetched(session, message_id, now=clock.now(), final=not error.retryable)
            continue
        async with desk.store.write() as session:
            await media.attach(session, message_id, picture.content_type, picture.data)


async def look_up_followers(desk: Desk) -> None:
    """Who follows or writes since a moment ago: the platform knows him, perhaps from another address of his."""
    for name, channel in desk.channels.items():
        if not isinstance(channel, Acquainted) or not channel.verified:
            continue
        now = clock.now()
        async with desk.store.write() as session:
            unknown = await followers.claim_unknown(session, desk.station_id, name, most=100, now=now)
        if not unknown:
            continue
        try:
            told = await channel.followers([address.address for address in unknown])
        except SendError as error:
            log.warning("followers not looked up", extra={"channel": name, "code": error.code})
            if error.failure in _MENDED_ONE_DAY and error.code not in followers_list.NOT_FOR_US:
                async with desk.store.write() as session:
                    await followers.give_back(session, unknown)
            continue
        ids = {address.address: address.id for address in unknown}
        for follower in told:
            if follower.address in ids:
                async with desk.store.write() as session:
                    await followers.take_in(
                        session,
                        ids[follower.address],
                        following=follower.following,
                        union_id=follower.union_id,
                        english=follower.english,
                        now=now,
                    )


async def tag_followers(desk: Desk) -> None:
    """Each follower carries the tag of his community, for what the platform lets an account send to a tag only."""
    for name, keeper in _keepers(desk):
        async with desk.store.write() as session:
            if not await followers.claim_tagging(session, desk.station_id, name, now=clock.now()):
                continue
            wanted = await followers.by_community(session, desk.station_id, name)
        try:
            changed = await keeper.sync_tags(wanted)
        except SendError as error:
            log.warning("followers not tagged", extra={"channel": name, "code": error.code})
        else:
            log.info("followers tagged", extra={"channel": name, "count": changed})


async def reconcile_followers(desk: Desk) -> None:
    """Who left or came back without our hearing of it."""
    for name, keeper in _keepers(desk):
        await followers_list.reconcile(desk.store, desk.station_id, name, keeper)


def _keepers(desk: Desk) -> Iterator[tuple[str, FollowerKeeper]]:
    for name, channel in desk.channels.items():
        if isinstance(channel, FollowerKeeper) and channel.verified:
            yield name, channel


async def remind_of_tickets(desk: Desk) -> None:
    """Tickets nobody took for too long, and calls for help nobody reacted to, are announced again."""
    async with desk.store.write() as session:
        await reminders.raise_unanswered(session, desk.station_id, now=clock.now())
        await reminders.ring_again(session, desk.station_id, now=clock.now())


async def take_over_knowledge(desk: Desk) -> None:
    """What the station made live in another process: entries and settings."""
    if desk.refresh is not None and await desk.refresh():
        log.info("knowledge replaced", extra={"station_id": desk.station_id})


async def tell_officers(desk: Desk) -> None:
    """Tickets nobody has taken, to their officers in WeCom."""
    if desk.wecom is not None:
        await wecom.tell_officers(desk.wecom)


async def move_tasks(desk: Desk) -> None:
    """Warnings to residents who are officers' friends in WeCom."""
    if desk.wecom is not None:
        await wecom.move_tasks(desk.wecom)


async def send_welcomes(desk: Desk) -> None:
    """Welcomes to new friends in WeCom that were cut short."""
    if desk.wecom is not None:
        await wecom.send_welcomes(desk.wecom)


async def look_up_friends(desk: Desk) -> None:
    """Friends in WeCom whom we may know from the station's other platforms."""
    if desk.wecom is not None:
        await wecom.look_up_friends(desk.wecom)


async def compare_friends(desk: Desk) -> None:
    """Officers' friends as WeCom lists them, in place of events that were lost."""
    if desk.wecom is not None:
        await wecom.compare_friends(desk.wecom)


async def index_messages(desk: Desk) -> None:
    """New messages become searchable."""
    while True:
        async with desk.store.write() as session:
            done = await search.index_pending(session, desk.station_id, desk.words)
        if not done:
            return
        await asyncio.sleep(INDEXING_PAUSE_SECONDS)


async def forget(desk: Desk) -> None:
    """Retention."""
    more = True
    while more:
        async with desk.store.write() as session:
            before = clock.now() - desk.messages_kept
            more = (await retention.forget_old_messages(session, desk.station_id, before=before)).more
    web = [channel.name for channel in desk.channels.values() if channel.kind == "webchat"]
    more = bool(web)
    while more:
        async with desk.store.write() as session:
            now = clock.now()
            more = bool(
                await retention.forget_old_visitors(
                    session, desk.station_id, web, before=now - desk.visitors_kept, now=now
                )
            )
    more = True
    while more:
        async with desk.store.write() as session:
            now = clock.now()
            before = now - desk.leavers_kept
            more = bool(await retention.forget_who_left(session, desk.station_id, before=before, now=now))
    async with desk.store.write() as session:
        await retention.forget_old_sessions(session, desk.station_id, now=clock.now())
        await linking.forget_tries(session, desk.station_id, now=clock.now())


async def anchor_audit_log(desk: Desk) -> None:
    """The end of the audit log stands in the program's log too, which whoever reaches the database does not reach."""
    async with desk.store.read() as session:
        end = await audit.newest(session, desk.station_id)
    if end is not None:
        # in groups of eight: a long row of digits would be blotted out as a phone number
        groups = "-".join(end.hash[at : at + 8] for at in range(0, len(end.hash), 8))
        log.info("end of the audit log", extra={"station_id": desk.station_id, "seq": end.seq, "hash": groups})


@dataclass(frozen=True, slots=True)
class Job:
    work: Callable[[Desk], Awaitable[None]]
    every: timedelta | None = None
    at: str | None = None  # a daily time on the station's clock
    first_at_once: bool = False  # not only after the first interval


JOBS = (
    Job(send_deliveries, every=timedelta(seconds=1)),
    Job(try_parked, every=timedelta(seconds=15)),
    Job(send_mass, every=timedelta(seconds=1)),  # beside the outbox: a mass job of minutes holds up no reply
    Job(move_broadcasts, every=timedelta(seconds=1)),
    Job(resume_messages, every=timedelta(seconds=5)),
    Job(pull_messages, every=timedelta(minutes=1), first_at_once=True),
    Job(fetch_pictures, every=timedelta(seconds=5)),
    Job(look_up_followers, every=timedelta(seconds=10)),
    Job(tag_followers, every=timedelta(minutes=5)),
    Job(reconcile_followers, every=timedelta(minutes=5)),
    Job(index_messages, every=timedelta(seconds=2)),
    Job(take_over_knowledge, every=timedelta(seconds=5)),
    Job(remind_of_tickets, every=timedelta(seconds=20)),
    Job(tell_officers, every=timedelta(seconds=1)),
    Job(send_welcomes, every=timedelta(seconds=2)),
    Job(move_tasks, every=timedelta(seconds=5)),
    Job(look_up_friends, every=timedelta(seconds=10)),
    Job(compare_friends, every=timedelta(minutes=2)),  # whose turn it is stands in the officers' rows
    Job(forget, at="03:30"),  # the quietest hour
    Job(anchor_audit_log, at="00:05"),
)


class Clockwork:
    """Ticks all jobs; each runs once at a time, and a late tick runs once."""

    def __init__(self, desk: Desk) -> None:
        self.scheduler = AsyncIOScheduler(timezone=ZoneInfo(desk.timezone))
        self._running: set[asyncio.Task[object]] = set()
        for place, job in enumerate(JOBS):
            self.scheduler.add_job(
                self._watched(_guarded(job, desk)),
                _trigger(job, desk, first_after=timedelta(seconds=place / len(JOBS))),
                id=job.work.__name__,
                max_instances=1,
                coalesce=True,
                misfire_grace_time=None,
                **({"next_run_time": clock.now()} if job.first_at_once else {}),
            )
        self.scheduler.start()

    async def stop(self) -> None:
        """Cut short what runs, and wait until it has let go of the database: that is closed next."""
        self.scheduler.shutdown(wait=False)
        await asyncio.sleep(0)  # it shuts down in the loop's next round
        while self._running:
            await asyncio.wait(set(self._running))

    def _watched(self, work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            if task := asyncio.current_task():
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            await work()

        return run


def _trigger(job: Job, desk: Desk, *, first_after: timedelta) -> IntervalTrigger | CronTrigger:
    """`first_after`: each job a little later than the one before, or all would be at the database in one moment."""
    if job.every is not None:
        return IntervalTrigger(seconds=int(job.every.total_seconds()), start_date=clock.now() + job.every + first_after)
    hour, minute = (job.at or "00:00").split(":")
    return CronTrigger(hour=int(hour), minute=int(minute), timezone=ZoneInfo(desk.timezone))


def _guarded(job: Job, desk: Desk) -> Callable[[], Awaitable[None]]:
    """A job that fails is logged and runs again at its next tick."""

    async def run() -> None:
        try:
            await job.work(desk)
        except asyncio.CancelledError:
            log.info("job cut short, the program stops", extra={"job": job.work.__name__})
        except Exception:
            log.exception("job failed", extra={"job": job.work.__name__})

    return run
