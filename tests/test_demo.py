"""The demo station: complete, the same each time, filled once."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from bot.actions import audit
from bot.demo.fill import PASSWORD, fill
from bot.demo.people import RESIDENTS
from bot.security.passwords import verify_password
from bot.store import migrations
from bot.store.encryption import use_keys
from bot.store.engine import Store
from bot.store.models import (
    Broadcast,
    BroadcastState,
    Community,
    Conversation,
    Direction,
    Officer,
    Resident,
    ResidentAddress,
    Role,
    StoredMessage,
    Ticket,
    TicketState,
)
from knowledge import Knowledge
from tests.support.station import DATA_KEY, FrozenClock

pytestmark = pytest.mark.slow


@pytest.fixture
async def demo(sqlite_url: str, frozen: FrozenClock) -> AsyncIterator[Store]:
    use_keys(DATA_KEY)
    store = Store.open(sqlite_url)
    try:
        await migrations.migrate(store)
        knowledge = Knowledge.load()
        assert await fill(store, knowledge)
        assert not await fill(store, knowledge)  # a second start keeps what happened
        yield store
    finally:
        await store.close()


async def test_the_demo_is_a_whole_station(demo: Store, frozen: FrozenClock) -> None:
    async with demo.read() as session:

        async def count(model: type, *where: object) -> int:
            query = select(func.count()).select_from(model).where(*where)  # type: ignore[arg-type]
            return (await session.execute(query)).scalar_one()

        assert await count(Community) == 29
        roles = dict((await session.execute(select(Officer.role, func.count()).group_by(Officer.role))).all())
        assert roles == {Role.OFFICER: 9, Role.AUXILIARY: 4, Role.CHIEF: 1, Role.REVIEWER: 1, Role.ADMIN: 1}
        assert await count(Resident) == RESIDENTS == 2000
        assert await count(Resident, Resident.language == "en") > 5
        assert await count(Broadcast, Broadcast.state == BroadcastState.DONE) == 2
        states = set((await session.execute(select(Ticket.state))).scalars())
        assert states == set(TicketState)
        oldest = (await session.execute(select(func.min(StoredMessage.created_at)))).scalar_one()
        assert timedelta(days=5) < frozen.now - oldest
        assert await count(StoredMessage, StoredMessage.created_at > frozen.now) == 0
        held = await count(Conversation, Conversation.owner_id.is_not(None))
        taken = await count(Ticket, Ticket.state.in_((TicketState.ASSIGNED, TicketState.WAITING)))
        assert held == taken
        officer = (await session.execute(select(Officer).where(Officer.username == "zhangwei"))).scalar_one()
        assert await verify_password(officer.password_hash, PASSWORD)
        assert not (await audit.check_chain(session, officer.station_id)).broken


async def test_what_the_demo_shows_as_the_last_message_is_the_last_one(demo: Store) -> None:
    async with demo.read() as session:
        wrote = func.max(StoredMessage.sent_at).filter(StoredMessage.direction == Direction.IN)
        query = (
            select(
                ResidentAddress.last_inbound_at,
                func.coalesce(wrote, ResidentAddress.created_at),
                Conversation.last_message_at,
                func.max(StoredMessage.sent_at),
            )
            .join(Conversation, Conversation.address_id == ResidentAddress.id)
            .outerjoin(StoredMessage, StoredMessage.conversation_id == Conversation.id)
            .group_by(ResidentAddress.id, Conversation.id)
        )
        rows = (await session.execute(query)).all()
    assert len(rows) > 1000
    for last_inbound, wrote_or_joined, last_message, said in rows:
        assert (last_inbound, last_message) == (wrote_or_joined, said)
