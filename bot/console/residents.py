"""Residents: found by exact name or phone, shown masked, revealed with a reason."""

import re

from aiohttp import web

from bot import clock
from bot.actions import ledger
from bot.actions import residents as actions
from bot.actions.audit import record
from bot.actions.errors import ActionError
from bot.console.sealed import seal, unseal
from bot.console.visit import Visit
from bot.reach import best
from bot.store.access import access_resident
from bot.store.queries import own_communities
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
    async with visit.store.read() as session:
        resident = await access_resident(session, visit.station_id, visit.number("id"))
        page = await resident_card(session, resident)
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
        revealed=revealed,
        slip=visit.asked("s"),
    )


async def reveal(visit: Visit) -> web.StreamResponse:
    """The resident's data in full, for this one page; no redirect, so that reloading asks again."""
    async with visit.store.write() as session:
        resident = await access_resident(session, visit.station_id, visit.number("id"))
        await actions.reveal(session, resident, why=visit.text("why"), actor=visit.actor)
    return await _card(visit, revealed=True)
