"""Once a day who follows an account is compared with its platform's own list, for events get lost."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from bot import clock
from bot.actions import followers
from bot.actions.followers import IMPLAUSIBLE
from bot.channels.base import FollowerKeeper, SendError
from bot.store.engine import Store

log = logging.getLogger(__name__)

EVERY = timedelta(days=1)
AGAIN = timedelta(hours=1)  # after an answer that was lost, or a list in which people moved
REFUSED_FOR = timedelta(days=30)  # an account may be verified one day
NOT_FOR_US = frozenset({"40200", "48001"})  # this kind of account has no list, or is not verified
FEW = 20  # so many may leave in a day however small the account is
_KNOWN_AT_ONCE = 5000
_WRITTEN_AT_ONCE = 100  # a resident who writes meanwhile waits for it


@dataclass(frozen=True, slots=True)
class _Compared:
    """The numbers of the addresses whose state is wrong here."""

    gone: Sequence[int]
    back: Sequence[int]
    known: int  # how many followed, as we had it


async def reconcile(store: Store, station_id: int, channel: str, keeper: FollowerKeeper) -> None:
    """Mark who left or came back without our hearing of it, if it is time for that."""
    began_at = clock.now()
    async with store.write() as session:
        if not await followers.claim_listing(session, station_id, channel, now=began_at, lease=AGAIN):
            return
    try:
        listed = await _listed(keeper)
    except SendError as error:
        log.warning("followers not listed", extra={"channel": channel, "code": error.code})
        if error.code in NOT_FOR_US:  # for a time-out, a wrong secret and the like the lease is the pause
            async with store.write() as session:
                await followers.not_listed(session, station_id, channel, error.code, again_at=began_at + REFUSED_FOR)
        return
    if listed is None:
        log.info("followers moved while they were listed", extra={"channel": channel})
        return
    found = await _compare(store, station_id, channel, listed)
    if len(found.gone) > max(FEW, found.known // 2):
        log.error("list of followers not believed", extra={"channel": channel, "gone": len(found.gone)})
        async with store.write() as session:
            await followers.not_listed(session, station_id, channel, IMPLAUSIBLE, again_at=began_at + EVERY)
        return
    for following, ids in ((False, found.gone), (True, found.back)):
        for start in range(0, len(ids), _WRITTEN_AT_ONCE):
            async with store.write() as session:
                some = ids[start : start + _WRITTEN_AT_ONCE]
                await followers.correct(session, some, following=following, listed_at=began_at)
    async with store.write() as session:
        await followers.listed(session, station_id, channel, now=clock.now(), again_at=began_at + EVERY)
    log.info(
        "followers compared",
        extra={"channel": channel, "count": len(listed), "gone": len(found.gone), "back": len(found.back)},
    )


async def _listed(keeper: FollowerKeeper) -> frozenset[str] | None:
    """Everybody who follows; None when it was not everybody."""
    found: set[str] = set()
    page = await keeper.follower_page("")
    while not found.issuperset(page.addresses):  # nothing new: the end, or a platform that goes round in a circle
        found.update(page.addresses)
        if len(found) >= page.total:
            break
        page = await keeper.follower_page(page.following)
    return frozenset(found) if len(found) >= page.total else None


async def _compare(store: Store, station_id: int, channel: str, listed: frozenset[str]) -> _Compared:
    gone: list[int] = []
    back: list[int] = []
    known = after = 0
    while True:
        async with store.read() as session:
            rows = await followers.known(session, station_id, channel, after=after, most=_KNOWN_AT_ONCE)
        if not rows:
            return _Compared(gone, back, known)
        for row in rows:
            known += row.following
            if row.following and row.address not in listed:
                gone.append(row.id)
            elif not row.following and row.address in listed:
                back.append(row.id)
        after = rows[-1].id
