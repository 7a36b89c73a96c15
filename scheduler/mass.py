"""The mass sender: submits the jobs of warnings, beside the outbox, so that no reply waits for them."""

import asyncio
import logging
from collections.abc import Mapping

from bot import clock
from bot.actions import mass, parking
from bot.actions.mass import Bundle, Unreported
from bot.channels.base import Channel, Failure, SendError, mass_sender
from bot.store.engine import Store
from scheduler.outbox import PARKED_FOR

log = logging.getLogger(__name__)


class MassOutbox:
    """`work()` submits every job that is due and writes down whom it went to. One at a time per process."""

    def __init__(self, store: Store, station_id: int, channels: Mapping[str, Channel]) -> None:
        self._store, self._station_id, self._channels = store, station_id, channels
        self._working = asyncio.Lock()
        self._closing = False

    async def work(self) -> int:
        """Returns how many jobs were tried."""
        if self._working.locked() or self._closing:
            return 0
        done = 0
        async with self._working:
            while not self._closing:
                async with self._store.write() as session:
                    now = clock.now()
                    until = await parking.parked(session, self._station_id)
                    parked = [name for name, moment in until.items() if moment > now]
                    bundle = await mass.claim(session, self._station_id, now=now, parked=parked)
                    unreported = await mass.claim_unreported(session, self._station_id, now=now, parked=parked)
                for job in unreported:
                    await self._ask(job)
                if bundle is not None:
                    done += 1
                    await self._submit(bundle)
                elif not await self._settle():
                    break
        return done

    async def close(self) -> None:
        """Wait until what is under way has ended; nothing new is begun."""
        self._closing = True
        async with self._working:
            return

    async def _settle(self) -> bool:
        monotonic = asyncio.get_running_loop().time
        began_at = monotonic()
        async with self._store.write() as session:
            more = await mass.settle(session, self._station_id, now=clock.now())
        await asyncio.sleep(monotonic() - began_at)  # half of the time belongs to the residents who write
        return more

    async def _ask(self, job: Unreported) -> None:
        """Reports get lost: what the platform did not say by itself it is asked."""
        sender = mass_sender(self._channels.get(job.channel))
        if sender is None:
            return
        try:
            outcome = await sender.mass_outcome(job.msg_id)
        except SendError as error:
            log.warning("mass job not asked about", extra={"mass_job": job.id, "code": error.code})
            return
        async with self._store.write() as session:
            await mass.told(session, job.id, outcome, now=clock.now())

    async def _submit(self, bundle: Bundle) -> None:
        sender = mass_sender(self._channels.get(bundle.channel))
        try:
            if sender is None:
                raise SendError(Failure.REFUSED, "no_channel", f"渠道“{bundle.channel}”已不在配置中")
            sent = await sender.send_mass(bundle.addresses, bundle.reply, client_id=bundle.client_id)
        except SendError as error:
            await self._not_submitted(bundle, error)
        except Exception:
            log.exception("mass sending failed unexpectedly", extra={"mass_job": bundle.id})
            await self._not_submitted(bundle, SendError(Failure.UNKNOWN, "unknown", mass.UNKNOWN_REASON))
        else:
            async with self._store.write() as session:
                now = clock.now()
                await mass.submitted(session, bundle.id, sent.platform_id, now=now)
                parked_until = (await parking.parked(session, self._station_id)).get(bundle.channel)
                if parked_until is not None and parked_until <= now:  # it works again
                    await parking.unpark(session, self._station_id, bundle.channel)

    async def _not_submitted(self, bundle: Bundle, error: SendError) -> None:
        log.warning("mass job not submitted", extra={"mass_job": bundle.id, "code": error.code})
        now, code, reason = clock.now(), error.code, error.reason
        async with self._store.write() as session:
            match error.failure:
                case Failure.RETRY | Failure.UNKNOWN:
                    unknown = error.failure is Failure.UNKNOWN
                    await mass.again(session, bundle.id, code, reason, after=error.after, unknown=unknown, now=now)
                case Failure.CHANNEL_DOWN:
                    until = now + PARKED_FOR
                    await parking.park(
                        session,
                        self._station_id,
                        bundle.channel,
                        until=until,
                        code=code,
                        reason=reason,
                        alarm=True,
                        heals=False,
                        now=now,
                    )
                    await mass.again(session, bundle.id, code, reason, after=PARKED_FOR, unknown=False, now=now)
                case Failure.LATER | Failure.REFUSED:
                    await mass.refused(session, bundle.id, code, reason, now=now)
