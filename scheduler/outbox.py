"""The outbox: sends what is promised, one message to one address at a time, and writes down how it ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import deliveries
from bot.actions.deliveries import Parcel
from bot.batcher import Batcher
from bot.channels.base import Channel, Failure, SendError
from bot.store.engine import Store, is_about_the_row

log = logging.getLogger(__name__)

AT_ONCE = 32  # parcels under way to the platforms; more only queue there
PARKED_FOR = timedelta(minutes=5)  # a channel with wrong credentials is not asked again before
GONE_CODE = "no_channel"
PARKED_CODE = "parked"

End = Callable[[AsyncSession], Awaitable[None]]


class Outbox:
    """`work()` sends everything that is due. One at a time per process; several processes share the rows."""

    def __init__(self, store: Store, station_id: int, channels: Mapping[str, Channel]) -> None:
        self._store, self._station_id, self._channels = store, station_id, channels
        self._write_end: Batcher[End, None] = Batcher(self._write_ends, is_of_one=is_about_the_row)
        self._parked: dict[str, datetime] = {}
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
            under_way: set[asyncio.Task[None]] = set()
            try:
                while True:
                    parcels = await self._claim(AT_ONCE - len(under_way))
                    done += len(parcels)
                    under_way |= {asyncio.create_task(self._send(parcel)) for parcel in parcels}
                    if not under_way:
                        return done
                    ended, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                    _report(ended)
            finally:  # the database went away: what is on its way to the platform still comes to its end
                if under_way:
                    _report((await asyncio.wait(under_way))[0])

    async def close(self) -> None:
        """Wait until what is under way has ended; nothing new is begun."""
        self._closing = True
        async with self._working:
            return

    async def _claim(self, most: int) -> Sequence[Parcel]:
        if self._closing:
            return []
        async with self._store.write() as session:
            return await deliveries.claim(session, self._station_id, most=most, now=clock.now())

    async def _send(self, parcel: Parcel) -> None:
        channel = self._channels.get(parcel.channel)
        if channel is None:
            reason = f"渠道“{parcel.channel}”已不在配置中"
            await self._write_end(lambda session: deliveries.failed(session, parcel.id, GONE_CODE, reason))
            return
        resume_at = self._parked.get(parcel.channel)
        if resume_at is not None and resume_at > clock.now():
            pause = resume_at - clock.now()
            await self._write_end(
                lambda session: deliveries.put_off(session, parcel.id, PARKED_CODE, "渠道暂停，等待管理员处理", pause)
            )
            return
        self._parked.pop(parcel.channel, None)
        try:
            sent = await channel.send(parcel.address, parcel.reply, delivery_id=parcel.id)
        except SendError as error:
            await self._write_end(self._end_of(parcel, error))
        except Exception:
            log.exception("sending failed unexpectedly", extra={"delivery_id": parcel.id})
            unknown = SendError(Failure.UNKNOWN, deliveries.UNKNOWN_CODE, deliveries.UNKNOWN_REASON)
            await self._write_end(self._end_of(parcel, unknown))
        else:
            await self._write_end(lambda session: deliveries.sent(session, parcel.id, sent.platform_id))

    def _end_of(self, parcel: Parcel, error: SendError) -> End:
        """What a failure means for the row."""
        match error.failure:
            case Failure.RETRY:
                return lambda session: deliveries.again(session, parcel.id, error.code, error.reason, error.after)
            case Failure.LATER:
                return lambda session: deliveries.hold(session, parcel.id, error.code, error.reason)
            case Failure.CHANNEL_DOWN:
                self._parked[parcel.channel] = clock.now() + PARKED_FOR
                log.error("channel parked", extra={"channel": parcel.channel, "code": error.code})
                return lambda session: deliveries.put_off(session, parcel.id, error.code, error.reason, PARKED_FOR)
            case Failure.REFUSED | Failure.UNKNOWN:
                return lambda session: deliveries.failed(session, parcel.id, error.code, error.reason)

    async def _write_ends(self, ends: Sequence[End]) -> Sequence[None]:
        async with self._store.write() as session:
            for end in ends:
                await end(session)
        return [None] * len(ends)


def _report(ended: Iterable["asyncio.Task[None]"]) -> None:
    """How a sending ended could not be written down: its lease ends it as interrupted."""
    for task in ended:
        if error := task.exception():
            log.error("end of a sending not written", exc_info=error)
