"""Residents: found by exact name or phone, shown masked, revealed with a reason."""

import re

from aiohttp import web

from bot import clock
from bot.actions import ledger, linking
from bot.actions import residents as actions
from bot.actions.audit import record, viewed_lately
from bot.actions.errors import ActionError, Conflict
from bot.console.sealed import seal, unseal
from bot.console.tickets import timeline
from bot.console.visit import Visit
from bot.reach import best
from bot.store.access import access_address, access_resident
from bot.store.queries import own_communities, station_officers
from bot.store.station_queries import resident_card, residents_by_number

_PURPOSE = "residents"
_PHONE = re.compile(r"1\d{10}")
_MOST = 50  # people of one name; more need the phone


async def show(visit: Visit) -> web.StreamResponse:
    """The field to search, and whom the last search found."""
    found, slip = None, visit.asked("s")
    numbers = unseal(visit, _PURPOSE, slip) if slip else None
    async with visit.store.read() as session:
        if numbers is not None:
            found = await residents_by_number(session, visit.station_id, numbers["found"])
        own = {community.id for community in await own_communities(session, visit.officer)}
    if found:
        found.sort(key=lambda row: row.community_id not in own)
    return visit.page("residents.html", found=found, slip=slip, most=_MOST)


async def search(visit: Visit) -> web.StreamResponse:
    """Exactly this name or phone; what was typed stays out of the address and out of the log."""
    typed = visit.text("who")
    if not typed:
        raise ActionError("请输入完整的姓名，或 11 位手机号码。")
    phone = typed.replace(" ", "").replace("-", "")
    async with visit.store.write() as session:
        if _PHONE.fullmatch(phone):
            row = await actions.find_by_phone(session, visit.station_id, phone)
            found = [row] if row else []
        else:
            found = await actions.find_by_name(session, visit.station_id, typed)
        by = "phone" if _PHONE.fullmatch(phone) else "name"
        details = {"by": by, "found": len(found)}
        await record(session, visit.actor, "resident.searched", f"station:{visit.station_id}", details=details)
    slip = seal(visit, _PURPOSE, {"found": [row.id for row in found[:_MOST]]})
    return visit.go(f"/console/residents?s={slip}")


async def card(visit: Visit) -> web.StreamResponse:
    return await _card(visit, revealed=False)


async def _card(visit: Visit, *, revealed: bool) -> web.StreamResponse:
    """Who he is, and all that was said at all of his addresses; that it was looked at is logged."""
    async with visit.store.read() as session:
        resident = await access_resident(session, visit.station_id, visit.number("id"))
        if resident.merged_into_id is not None:
            return visit.go(f"/console/residents/{resident.merged_into_id}")
        page = await resident_card(session, resident, before=visit.asked_number("before"))
        people = await station_officers(session, visit.station_id)
        viewed = await viewed_lately(session, visit.actor, "resident.viewed", f"resident:{resident.id}")
    if not viewed:
        async with visit.store.write() as session:
            await record(session, visit.actor, "resident.viewed", f"resident:{resident.id}")
    now = clock.now()
    reaches = {
        address.id: ledger.reach_at(address, visit.desk.rules.get(address.channel), now) for address in page.addresses
    }
    return visit.page(
        "resident.html",
        resident=resident,
        page=page,
        reaches=reaches,
        reach=best(list(reaches.values())),
        lines=timeline(page.messages, (), (), people),
        officers=people,
        revealed=revealed,
        slip=visit.asked("s"),
    )


async def separate(visit: Visit) -> web.StreamResponse:
    """One of his addresses is somebody else's."""
    if len(visit.text("why")) < 2:
        raise ActionError("请写明分开的原因，例如“母女共用一部手机”。")
    async with visit.store.write() as session:
        resident = await access_resident(session, visit.station_id, visit.number("id"))
        address = await access_address(session, visit.station_id, visit.number("address"))
        if address.resident_id != resident.id:
            raise Conflict("这个渠道现在不属于这位居民，请刷新后再试。")
        await linking.separate(session, address, why=visit.text("why"), now=clock.now(), actor=visit.actor)
    return visit.go(f"/console/residents/{resident.id}", done="separated")


async def reveal(visit: Visit) -> web.StreamResponse:
    """The resident's data in full, for this one page; no redirect, so that reloading asks again."""
    async with visit.store.write() as session:
        resident = await access_resident(session, visit.station_id, visit.number("id"))
        await actions.reveal(session, resident, why=visit.text("why"), actor=visit.actor)
    return await _card(visit, revealed=True)
