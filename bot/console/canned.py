"""The station's canned replies: read, add, remove."""

from aiohttp import web

from bot.actions import canned as actions
from bot.actions.errors import ActionError
from bot.console.visit import Visit
from bot.store.access import access_canned_reply
from bot.store.queries import canned_replies


async def show(visit: Visit) -> web.StreamResponse:
    async with visit.store.read() as session:
        replies = await canned_replies(session, visit.station_id)
    entries = visit.desk.runtime.knowledge.entries
    topics = sorted((entry.title, topic) for topic, entry in entries.items() if not topic.startswith("none"))
    return visit.page("canned.html", replies=replies, topics=topics)


async def add(visit: Visit) -> web.StreamResponse:
    topic = visit.text("topic")
    if topic and topic not in visit.desk.runtime.knowledge.entries:
        raise ActionError("没有这个主题，请从列表中选择。")
    async with visit.store.write() as session:
        await actions.add_canned_reply(
            session,
            visit.station_id,
            title=visit.text("title"),
            body=visit.text("body"),
            topic=topic or None,
            actor=visit.actor,
        )
    return visit.go("/console/canned", done="canned_added")


async def remove(visit: Visit) -> web.StreamResponse:
    async with visit.store.write() as session:
        reply = await access_canned_reply(session, visit.station_id, visit.number("id"))
        await actions.remove_canned_reply(session, reply, actor=visit.actor)
    return visit.go("/console/canned", done="canned_removed")
