"""Warnings that the demo station sent."""

from datetime import datetime, timedelta

from bot.actions.audiences import Audience
from bot.actions.broadcasts import broadcast_text, seal_of
from bot.demo.conversations import deliver, say
from bot.demo.people import RESIDENTS
from bot.demo.world import World
from bot.store.models import (
    Author,
    Broadcast,
    BroadcastState,
    Conversation,
    Delivery,
    DeliveryRoute,
    DeliveryState,
    Officer,
    Repeat,
    Resident,
    Role,
)


def add_broadcasts(world: World) -> None:
    """Warnings that were sent, with a delivery for each recipient."""
    chief = next(n for n, row in enumerate(world.rows.tables[Officer], 1) if row["role"] is Role.CHIEF)
    for made_up in world.made_up["broadcasts"]:
        audience = Audience(**made_up["audience"])
        when = world.moment(made_up["days_ago"], 10, 0)
        written = {
            "station_id": world.station_id,
            "title": made_up["title"],
            "body": made_up["body"].strip(),
            "template": made_up["template"],
            "audience": audience.as_json(),
            "repeat": Repeat.ONCE,
            "send_at": when,
        }
        broadcast = Broadcast(**written)
        number = world.rows.add(
            Broadcast,
            **written,
            state=BroadcastState.DONE,
            author_id=made_up["author"] + 1,
            approver_id=chief,
            seal=seal_of(broadcast),
            version=1,
            expanded=True,
            expanded_to=RESIDENTS,
            created_at=when - timedelta(hours=2),
            submitted_at=when - timedelta(hours=1),
            approved_at=when - timedelta(minutes=30),
            started_at=when,
            finished_at=when + timedelta(minutes=1),
        )
        _recipients(world, number, broadcast_text(broadcast), audience, when)


def _recipients(world: World, broadcast: int, text: str, audience: Audience, when: datetime) -> None:
    conversations = {row["resident_id"]: row for row in world.rows.tables[Conversation]}
    for resident in world.rows.tables[Resident]:
        age = world.now.year - resident["birth_year"]
        if not (audience.age_from or 0) <= age <= (audience.age_to or 200) or not resident["wants_warnings"]:
            continue
        conversation = conversations.get(resident["id"])
        if conversation is not None:
            message = say(world, conversation, text, when, Author.STATION, broadcast_id=broadcast)
            deliver(world, conversation, when, broadcast_id=broadcast, message_id=message)
            continue
        world.rows.add(
            Delivery,
            station_id=world.station_id,
            broadcast_id=broadcast,
            message_id=None,
            resident_id=resident["id"],
            address_id=None,
            channel="",
            route=DeliveryRoute.OUTBOX,
            state=DeliveryState.SKIPPED,
            rank=10,
            attempts=0,
            reason="居民没有可用的联系渠道",
            created_at=when,
            finished_at=when,
        )
