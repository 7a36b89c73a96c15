"""Tickets of the demo station, in every state."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from bot.actions.tickets import rank
from bot.demo.conversations import a_conversation, ask, say
from bot.demo.world import DAYS, World
from bot.store.models import Author, Outcome, Priority, Resident, Ticket, TicketState


def add_tickets(world: World) -> None:
    """Tickets in every state, each with what was said."""
    matters = [dialogue for dialogue in world.made_up["dialogues"] if dialogue["how"] != "bot"]
    closed = [dialogue for dialogue in matters if dialogue["how"].startswith("closed")]
    plan = [(dialogue, days) for days in range(DAYS, 0, -1) for dialogue in world.chance.sample(closed, 3)]
    plan += [(dialogue, 0) for dialogue in matters if not dialogue["how"].startswith("closed")]
    for n, (dialogue, days_ago) in enumerate(plan):
        when = world.moment(days_ago, world.chance.randrange(8, 21), world.chance.randrange(60))
        if dialogue["how"] == "open":
            when = world.now - timedelta(minutes=world.chance.randrange(2, 26))
        _ticket(world, dialogue, n, when)


def _ticket(world: World, dialogue: Mapping[str, Any], n: int, when: datetime) -> None:
    conversation = a_conversation(world)
    community = world.rows.tables[Resident][conversation["resident_id"] - 1]["community_id"]
    officer = world.made_up["communities"][community - 1][2] + 1
    asked = ask(world, conversation, dialogue["ask"], dialogue["topic"], "officer", when)
    how, _, outcome = dialogue["how"].partition(" ")
    fraud = dialogue["topic"].startswith("fraud.")
    priority = Priority.HIGH if fraud else Priority.NORMAL
    said_at = when + timedelta(minutes=world.chance.randrange(2, 15))
    answered_at = said_at if dialogue.get("talk") else None
    for speaker, words in dialogue.get("talk", ()):
        author = Author.OFFICER if speaker == "officer" else Author.RESIDENT
        say(
            world,
            conversation,
            words,
            min(said_at, world.now),
            author,
            officer_id=officer if author is Author.OFFICER else None,
            decision=None if author is Author.OFFICER else "held",
        )
        said_at += timedelta(minutes=world.chance.randrange(1, 6))
    if how in ("assigned", "waiting"):
        conversation["owner_id"] = officer
    world.rows.add(
        Ticket,
        station_id=world.station_id,
        number=f"{when.astimezone(world.zone):%Y%m%d}-{n + 1:04d}",
        conversation_id=conversation["id"],
        resident_id=conversation["resident_id"],
        community_id=community,
        priority=priority,
        priority_rank=rank(priority),
        state=TicketState(how),
        topic=dialogue["topic"],
        subject=dialogue["ask"],
        first_message_id=asked,
        assignee_id=None if how == "open" else officer,
        outcome=Outcome(outcome) if outcome else None,
        money_saved_yuan=dialogue.get("saved"),
        opened_at=when,
        assigned_at=None if how == "open" else answered_at,
        answered_at=answered_at,
        closed_at=min(said_at, world.now) if how == "closed" else None,
    )
