"""Communities: the list with who answers for each, and the card residents scan."""

import segno
from aiohttp import web
from markupsafe import Markup

from bot.actions import communities as actions
from bot.actions.residents import communities, officer_of
from bot.console.visit import Visit
from bot.store.access import access_community
from bot.store.station_queries import beats, resident_counts


async def show(visit: Visit) -> web.StreamResponse:
    async with visit.store.read() as session:
        places = await communities(session, visit.station_id)
        who = await beats(session, visit.station_id)
        counts = await resident_counts(session, visit.station_id)
    return visit.page("communities.html", places=places, officers=who.by_community, counts=counts)


async def add(visit: Visit) -> web.StreamResponse:
    async with visit.store.write() as session:
        await actions.add_community(
            session, visit.station_id, name=visit.text("name"), code=visit.text("code").casefold(), actor=visit.actor
        )
    return visit.go("/console/communities", done="community_added")


async def rename(visit: Visit) -> web.StreamResponse:
    async with visit.store.write() as session:
        community = await access_community(session, visit.station_id, visit.number("id"))
        await actions.rename_community(session, community, name=visit.text("new_name"), actor=visit.actor)
    return visit.go("/console/communities", done="community_renamed")


async def card(visit: Visit) -> web.StreamResponse:
    """警民联系卡: the officer's name, phone and a QR code that leads to the chat of this community."""
    async with visit.store.read() as session:
        community = await access_community(session, visit.station_id, visit.number("id"))
        officer = await officer_of(session, visit.station_id, community.id)
    public_url = visit.desk.runtime.config.server.public_url.rstrip("/")
    address = f"{public_url or visit.request.url.origin()}/chat?c={community.code}"
    return visit.page(
        "community_card.html",
        community=community,
        officer=officer,
        settings=visit.desk.runtime.station.settings,
        address=address,
        qr=_qr(address),
        public=bool(public_url),
    )


def _qr(address: str) -> Markup:
    """SVG that stands in the page; prints sharp at any size."""
    return Markup(segno.make(address, error="q").svg_inline(scale=5, border=2, dark="#000", light="#fff"))  # noqa: S704 made here, of our own address
