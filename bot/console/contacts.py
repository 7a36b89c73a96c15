"""Friends in WeCom: the QR codes of officers for their communities, and the residents who left."""

from aiohttp import web

from bot.actions import contacts as actions
from bot.actions import residents
from bot.actions.errors import ActionError
from bot.console.visit import Visit
from bot.security.permissions import Permission
from bot.store.access import access_community, access_contact, access_contact_way, access_officer
from bot.store.models import ContactWay, WeComContact
from bot.store.queries import own_communities, station_officers
from bot.wecom import WeComApp, WeComRefused

_PNG, _JPEG = b"\x89PNG", b"\xff\xd8"


def _app(visit: Visit) -> WeComApp:
    """Only where the station's WeCom has 客户联系."""
    if visit.desk.wecom is None or not visit.desk.wecom.customer_contact:
        raise web.HTTPNotFound
    return visit.desk.wecom


async def show(visit: Visit) -> web.StreamResponse:
    """One's own codes, for the admin everybody's; the people who left, for those who may see residents."""
    _app(visit)
    number = max(1, visit.asked_number("page") or 1)
    manages = visit.may(Permission.MANAGE)
    async with visit.store.read() as session:
        whose = None if manages else visit.officer.id
        ways = await actions.ways(session, visit.station_id, whose)
        count = await actions.friend_count(session, visit.station_id, whose)
        places = await (
            residents.communities(session, visit.station_id) if manages else own_communities(session, visit.officer)
        )
        officers = await station_officers(session, visit.station_id)
        left: list[WeComContact] = []
        more = False
        if visit.may(Permission.RESIDENTS):
            left, more = await actions.left(session, visit.station_id, number)
    return visit.page(
        "contacts.html",
        ways=ways,
        count=count,
        places=places if manages else [place for place in places if place.id not in {way.community_id for way in ways}],
        has_places=bool(places),
        officers=officers,
        senders=[officer for officer in officers.values() if officer.active and officer.wecom_userid],
        left=left,
        more=more,
        number=number,
        note_characters=actions.NOTE_CHARACTERS,
    )


async def make(visit: Visit) -> web.StreamResponse:
    """A code for an officer and a community; pressing again asks WeCom for what is still missing."""
    app = _app(visit)
    officer_id, community_id = _number(visit, "officer"), _number(visit, "community")
    if not visit.may(Permission.MANAGE):
        officer_id = visit.officer.id
    async with visit.store.write() as session:
        officer = await access_officer(session, visit.station_id, officer_id)
        community = await access_community(session, visit.station_id, community_id)
        own = {row.id for row in await own_communities(session, visit.officer)}
        if not visit.may(Permission.MANAGE) and community.id not in own:
            raise ActionError("只能为自己负责的社区生成二维码。")
        way = await actions.ensure_way(session, officer, community, actor=visit.actor)
        made = way.config_id
    if not made:
        await _ask_wecom(visit, app, way, officer.wecom_userid or "", community.name)
    return visit.go("/console/contacts", done="way_made", part=f"way-{way.id}")


async def _ask_wecom(visit: Visit, app: WeComApp, way: ContactWay, userid: str, community: str) -> None:
    try:
        made = await app.add_contact_way(userid, way.code, community)
    except WeComRefused as refused:
        raise ActionError(refused.reason) from refused
    async with visit.store.write() as session:
        await actions.way_made(session, way.id, made)


async def picture(visit: Visit) -> web.StreamResponse:
    """The QR code as WeCom drew it."""
    _app(visit)
    async with visit.store.read() as session:
        way = await access_contact_way(session, visit.station_id, visit.number("id"))
    if way.picture is None or not (way.officer_id == visit.officer.id or visit.may(Permission.MANAGE)):
        raise web.HTTPNotFound
    kind = "image/png" if way.picture.startswith(_PNG) else "image/jpeg" if way.picture.startswith(_JPEG) else ""
    return web.Response(
        body=way.picture,
        content_type=kind or "application/octet-stream",
        headers={"Cache-Control": "private, max-age=3600", "Content-Security-Policy": "default-src 'none'; sandbox"},
    )


async def follow_up(visit: Visit) -> web.StreamResponse:
    """Somebody has asked why the resident left."""
    _app(visit)
    async with visit.store.write() as session:
        contact = await access_contact(session, visit.station_id, visit.number("id"), lock=True)
        await actions.follow_up(session, contact, visit.officer, visit.text("note"), actor=visit.actor)
    return visit.go("/console/contacts", done="followed_up", part="left")


def _number(visit: Visit, name: str) -> int:
    value = visit.text(name)
    if not (value.isascii() and value.isdecimal() and len(value) < 19):
        if name == "officer" and not visit.may(Permission.MANAGE):
            return 0
        raise ActionError("请选择民警和社区。")
    return int(value)
