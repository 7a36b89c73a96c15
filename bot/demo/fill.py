"""Fills an empty database with the demo station, from a fixed seed."""

import random
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import yaml
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import stations
from bot.actions.audit import Actor, record
from bot.demo.broadcasts import add_broadcasts
from bot.demo.conversations import add_not_understood, add_quiet_week
from bot.demo.people import add_officers, add_residents
from bot.demo.tickets import add_tickets
from bot.demo.world import Rows, World
from bot.security.passwords import hash_password
from bot.store.bulk import write_rows
from bot.store.engine import Store
from bot.store.models import (
    Broadcast,
    CannedReply,
    Community,
    CommunityOfficer,
    Conversation,
    Delivery,
    Officer,
    Resident,
    ResidentAddress,
    StoredMessage,
    Ticket,
)
from knowledge import Knowledge

PASSWORD: Final = "fenglin-demo-110"
_SEED: Final = 20261122
_ORDER: Final[tuple[type[Any], ...]] = (  # a row comes after those it points to
    Officer,
    Community,
    CommunityOfficer,
    CannedReply,
    Resident,
    ResidentAddress,
    Conversation,
    Broadcast,
    StoredMessage,
    Ticket,
    Delivery,
)


async def fill(store: Store, knowledge: Knowledge) -> bool:
    """Make the demo station if the database has none; False when it is there already."""
    made_up = yaml.load((Path(__file__).parent / "station.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    async with store.read() as session:
        if await stations.find(session, made_up["name"]) is not None:
            return False
    password_hash = await hash_password(PASSWORD)
    async with store.write() as session:
        station = await stations.ensure(session, made_up["name"], "Asia/Shanghai", made_up["settings"])
        world = World(
            rows=Rows({}),
            chance=random.Random(_SEED),
            made_up=made_up,
            station_id=station.id,
            now=clock.now(),
            zone=ZoneInfo(station.timezone),
            knowledge=knowledge,
        )
        add_officers(world, password_hash)
        add_residents(world)
        add_broadcasts(world)
        add_quiet_week(world)
        add_not_understood(world)
        add_tickets(world)
        await _write(session, world)
        await record(session, Actor(station.id), "demo.filled", f"station:{station.id}")
    return True


async def _write(session: AsyncSession, world: World) -> None:
    for table in _ORDER:
        await write_rows(session, table, world.rows.tables[table])
