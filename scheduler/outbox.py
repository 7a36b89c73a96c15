"""The outbox: sends what is promised, one message to one address at a time, and writes down how it ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import deliveries, ledger, notices, outbox, parking, residents
from bot.actions.audit import Actor
from bot.actions.parcels import Parcel, Taken
from bot.batcher import Batcher
from bot.channels.base import Channel, Failure, Recipient, SendError, Sent, Waiting, notice_sender
from bot.store.engine import Store, is_about_the_row
from bot.store.models import DeliveryRoute, ResidentAddress
from scheduler.metrics import DELIVERIES_ENDED, PARKED_CHANNELS

log = logging.getLogger(__name__)

AT_ONCE = 64  # parcels under way to the platforms; more only queue there
SLOWLY = 8  # … for a while after a platform said that it was too fast
SLOW_FOR = timedelta(minutes=10)
RATE_CODES = frozenset({"45011"})
PARKED_FOR = timedelta(minutes=5)  # a channel with wrong credentials is not asked again before
SWEPT_EVERY = timedelta(seconds=1)
GONE_CODE = "no_channel"
PARKED_CODE = "parked"
PARKED_REASON = "渠道暂停，等待管理员处理"

End = Callable[[AsyncSession], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Ended:
    """How one sending ended: taken by the platform, or what is to be written instead."""

    parcel: Parcel
    taken: Sent | None
    instead: End | None = None


class Outbox:
    """`work()` sends everything that is due. One at a time per process; several processes share the rows."""

    def __init__(
        self, store: Store, station_id: int, channels: Mapping[str, Channel], *, station_name: str = ""
    ) -> None:
        self._store, self._station_id, self._channels = store, station_id, channels
        self._station_name = station_name
        self._write_end: Batcher[_Ended, None] = Batcher(self._write_ends, most=AT_ONCE, is_of_one=is_about_the_row)
        self._parked: dict[str, datetime] = {}
        self._slow_until: datetime | None = None
        self._swept_at: datetime | None = None
        self._working = asyncio.Lock()
        self._closing = False

    @property
    def parked(self) -> Mapping[str, datetime]:
        """Channels that are stopped until somebody mends them, and when they are tried again."""
        return self._parked

    async def work(self) -> int:
        """Send what is due now; returns how many parcels left or failed."""
        if self._working.locked() or self._closing:
            return 0
        done = 0
        async with self._working:
            await self._read_parked()
            under_way: set[asyncio.Task[None]] = set()
            ended = asyncio.Event()

            def end(task: "asyncio.Task[None]") -> None:
                under_way.discard(task)
                _report(task)
                ended.set()

            try:
                while True:
                    room = self._room() - len(under_way)
                    if room >= self._room() // 4 or not under_way:  # a few rows at a time would cost a claim each
                        parcels, more = await self._claim(room)
                        done += len(parcels)
                        for parcel in parcels:
                            task = asyncio.create_task(self._send(parcel))
                            under_way.add(task)
                            task.add_done_callback(end)
                        if not under_way and not more:
                            return done
                        if not under_way:
                            continue  # all that was due must wait: what stood behind it may go
                    await ended.wait()
                    ended.clear()
            finally:  # the database went away: what is on its way to the platform still comes to its end
                if under_way:
                    await asyncio.wait(under_way)

    async def close(self) -> None:
        """Wait until what is under way has ended; nothing new is begun."""
        self._closing = True
        async with self._working:
            return

    # -- what goes ---------------------------------------------------------------------------------------------------

    def _room(self) -> int:
        slow = self._slow_until is not None and clock.now() < self._slow_until
        return SLOWLY if slow else AT_ONCE

    async def _claim(self, most: int) -> tuple[Sequence[Parcel], bool]:
        if self._closing or most <= 0:
            return [], False
        now = clock.now()
        async with self._store.write() as session:
            if self._swept_at is None or now - self._swept_at >= SWEPT_EVERY:
                repeatable = [name for name, channel in self._channels.items() if channel.rules.repeatable]
                await deliveries.sweep(session, self._station_id, now, repeatable=repeatable)
                self._swept_at = now
            parked = [name for name, until in self._parked.items() if until > now]
            rules = {name: channel.rules for name, channel in self._channels.items()}
            return await outbox.claim(session, self._station_id, most=most, now=now, rules=rules, parked=parked)

    async def _send(self, parcel: Parcel) -> None:
        channel = self._channels.get(parcel.channel)
        if channel is None:
            reason = f"渠道“{parcel.channel}”已不在配置中"
            await self._write_end(
                _instead(parcel, lambda session: deliveries.failed(session, parcel, GONE_CODE, reason))
            )
            return
        resume_at = self._parked.get(parcel.channel)
        if resume_at is not None and (pause := resume_at - clock.now()) > timedelta(0):  # since it was claimed
            await self._write_end(
                _instead(parcel, lambda session: deliveries.put_off(session, parcel, PARKED_CODE, PARKED_REASON, pause))
            )
            return
        try:
            sent = await self._give(channel, parcel)
        except SendError as error:
            await self._write_end(_instead(parcel, self._end_of(parcel, error)))
        except Exception:
            log.exception("sending failed unexpectedly", extra={"delivery_id": parcel.id})
            unknown = SendError(Failure.UNKNOWN, deliveries.UNKNOWN_CODE, deliveries.UNKNOWN_REASON)
            await self._write_end(_instead(parcel, self._end_of(parcel, unknown)))
        else:
            DELIVERIES_ENDED.labels(parcel.channel, "sent").inc(len(parcel.each))
            await self._write_end(_Ended(parcel, sent))

    async def _give(self, channel: Channel, parcel: Parcel) -> Sent:
        if parcel.route is not DeliveryRoute.NOTICE:
            return await channel.send(parcel.address, parcel.reply, delivery_id=parcel.id)
        sender = notice_sender(channel)
        if sender is None or parcel.waiting is None:
            raise SendError(Failure.REFUSED, "no_notice", "这个渠道没有设置通知模板，没有通知居民。")
        officer, at = parcel.waiting
        waiting = Waiting(self._station_name, officer, at)
        return await sender.send_notice(parcel.address, waiting, client_id=f"n{self._station_id}-{parcel.id}")

    # -- how it ended ------------------------------------------------------------------------------------------------

    def _end_of(self, parcel: Parcel, error: SendError) -> End:
        """What a failure means for the row, the resident's address and the channel."""
        DELIVERIES_ENDED.labels(parcel.channel, error.failure.value).inc(len(parcel.each))
        code, reason = error.code, error.reason
        match error.failure:
            case Failure.RETRY if error.after is not None:  # the platform put the whole channel off
                return self._park(parcel, error, error.after, alarm=error.alarm, heals=True)
            case Failure.RETRY:
                return lambda session: deliveries.again(session, parcel, code, reason)
            case Failure.LATER:
                return lambda session: self._hold(session, parcel, error)
            case Failure.CHANNEL_DOWN:
                log.error("channel parked", extra={"channel": parcel.channel, "code": error.code})
                return self._park(parcel, error, PARKED_FOR, alarm=True, heals=False)
            case Failure.REFUSED:
                return lambda session: self._refused(session, parcel, error)
            case Failure.UNKNOWN if self._channels[parcel.channel].rules.repeatable:
                return lambda session: deliveries.again(session, parcel, code, deliveries.REPEATED_REASON, unknown=True)
            case Failure.UNKNOWN:
                return lambda session: deliveries.failed(session, parcel, code, reason, unknown=True)

    def _park(self, parcel: Parcel, error: SendError, after: timedelta, *, alarm: bool, heals: bool) -> End:
        now = clock.now()
        self._parked[parcel.channel] = until = now + after
        PARKED_CHANNELS.labels(parcel.channel).set(1)
        if error.code in RATE_CODES:
            self._slow_until = until + SLOW_FOR

        async def end(session: AsyncSession) -> None:
            await parking.park(
                session,
                self._station_id,
                parcel.channel,
                until=until,
                code=error.code,
                reason=error.reason,
                alarm=alarm,
                heals=heals,
                now=now,
            )
            await deliveries.put_off(session, parcel, error.code, error.reason, after)

        return end

    async def _hold(self, session: AsyncSession, parcel: Parcel, error: SendError) -> None:
        """The platform knows the window better than our ledger."""
        now = clock.now()
        if error.about in (Recipient.WINDOW_OVER, Recipient.WINDOW_USED):
            used = error.about is Recipient.WINDOW_USED
            await ledger.close_window(session, parcel.address_id, used=used, now=now)
        sender = notice_sender(self._channels.get(parcel.channel))
        if error.about is Recipient.NO_CONSENT and sender is not None:
            await notices.withdraw(session, parcel.address_id, sender.template_id)
        await deliveries.hold(session, parcel, error.code, error.reason, rules=self._channels[parcel.channel].rules)

    async def _refused(self, session: AsyncSession, parcel: Parcel, error: SendError) -> None:
        now = clock.now()
        await deliveries.failed(session, parcel, error.code, error.reason)
        if error.about is Recipient.LEFT:
            address = await session.get_one(ResidentAddress, parcel.address_id)
            await residents.set_following(session, address, False, actor=Actor(self._station_id))
        elif error.about is Recipient.REFUSED:
            await ledger.refuse(session, parcel.address_id, error.reason, now + ledger.REFUSED_FOR)
        elif error.about is Recipient.LIMITED:
            await ledger.refuse(session, parcel.address_id, error.reason, now + ledger.LIMITED_FOR)

    async def _write_ends(self, ends: Sequence[_Ended]) -> Sequence[None]:
        """What ended in one moment, in one transaction."""
        taken = [Taken(end.parcel, end.taken.platform_id) for end in ends if end.taken is not None]
        async with self._store.write() as session:
            if taken:
                await deliveries.sent(session, taken)
            for end in ends:
                if end.instead is not None:
                    await end.instead(session)
            working = {one.parcel.channel for one in taken} & self._parked.keys()
            over = [name for name in working if self._parked[name] <= clock.now()]
            for name in over:
                await parking.unpark(session, self._station_id, name)
        for name in over:
            self._forget_parking(name)
        return [None] * len(ends)

    async def _read_parked(self) -> None:
        """What another process found out, or this one before its restart."""
        async with self._store.read() as session:
            self._parked = dict(await parking.parked(session, self._station_id))
        for name in self._channels:
            PARKED_CHANNELS.labels(name).set(1 if name in self._parked else 0)

    def _forget_parking(self, name: str) -> None:
        self._parked.pop(name, None)
        PARKED_CHANNELS.labels(name).set(0)


def _instead(parcel: Parcel, end: End) -> _Ended:
    return _Ended(parcel, None, end)


def _report(task: "asyncio.Task[None]") -> None:
    """How a sending ended could not be written down: its lease ends it as interrupted."""
    if not task.cancelled() and (error := task.exception()):
        log.error("end of a sending not written", exc_info=error)
