"""Communities: the list with who answers for each, and the card residents scan."""

from collections.abc import Sequence
from dataclasses import dataclass

import segno
from aiohttp import web
from markupsafe import Markup

from bot import clock
from bot.actions import communities as actions
from bot.actions import followers
from bot.actions.residents import communities, officer_of
from bot.console.visit import Visit
from bot.store.access import access_community
from bot.store.models import Community, Officer
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


@dataclass(frozen=True, slots=True)
class Card:
    """A 警民联系卡: who answers for a community, and a QR code that brings people to its chat."""

    community: Community
    officer: Officer | None
    address: str
    qr: Markup
    by_account: bool  # the code leads to the official account, not to the web chat


async def card(visit: Visit) -> web.StreamResponse:
    """The card of one community."""
    async with visit.store.read() as session:
        community = await access_community(session, visit.station_id, visit.number("id"))
    return await _cards(visit, [community])


async def cards(visit: Visit) -> web.StreamResponse:
    """The cards of all communities, one on each sheet."""
    async with visit.store.read() as session:
        places = await communities(session, visit.station_id)
    return await _cards(visit, places)


async def _cards(visit: Visit, places: Sequence[Community]) -> web.StreamResponse:
    made = [await _card(visit, community) for community in places]
    return visit.page(
        "community_card.html",
        cards=made,
        settings=visit.desk.runtime.station.settings,
        public=bool(visit.desk.runtime.config.server.public_url),
        size="a4" if visit.asked("size") == "a4" else "a6",
    )


async def _card(visit: Visit, community: Community) -> Card:
    async with visit.store.read() as session:
        officer = await officer_of(session, visit.station_id, community.id)
    address = await _scene(visit, community)
    public_url = visit.desk.runtime.config.server.public_url.rstrip("/")
    chat = f"{public_url or visit.request.url.origin()}/chat?c={community.code}"
    return Card(community, officer, address or chat, _qr(address or chat), by_account=bool(address))


async def _scene(visit: Visit, community: Community) -> str:
    """What brings people to the official account with this community; "" where there is no account, or no answer.

    The platform makes the code once, at the first card, and never deletes it.
    """
    for channel, make in visit.desk.scenes.items():
        async with visit.store.read() as session:
            address = await followers.scene_of(session, visit.station_id, channel, community.id)
        if address:
            return address
        if address := await make(community.code):
            async with visit.store.write() as session:
                await followers.keep_scene(session, visit.station_id, channel, community.id, address, now=clock.now())
            return address
    return ""


def _qr(address: str) -> Markup:
    """SVG that stands in the page; prints sharp at any size."""
    return Markup(segno.make(address, error="q").svg_inline(omitsize=True, border=2, dark="#000", light="#fff"))  # noqa: S704 made here, of our own address
