"""A station whose officers are in WeCom, between its database and the emulator."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientResponse, ClientSession, CookieJar, web
from aiohttp.test_utils import TestServer
from sqlalchemy import select
from yarl import URL

from bot import clock
from bot.actions import broadcasts, contacts, conversations, officers, tickets
from bot.actions.audiences import Audience
from bot.actions.audit import Actor
from bot.actions.broadcasts import Draft
from bot.actions.conversations import Address
from bot.adapters import StoredPictures, StoredTokens
from bot.channels.wecom import WeComChannel
from bot.config import Config, WeComSettings, parse_config
from bot.console.app import ConsoleDesk, add_console
from bot.contacts import Contacts
from bot.store.models import (
    AuditEvent,
    Broadcast,
    Community,
    ContactWay,
    Delivery,
    Officer,
    Priority,
    ResidentAddress,
    Ticket,
    WeComContact,
    WeComTask,
)
from scheduler import jobs
from scheduler.wecom import WeComDesk
from tests.fakes.wechat import FakeWeChat
from tests.fakes.wechat.wecom.apps import AGENT_ID, CORP_ID, CORP_SECRET
from tests.fakes.wechat.wecom.corp import Corp
from tests.fakes.wechat.wecom.pusher import CORP_AES_KEY, CORP_TOKEN, CorpPusher
from tests.support.small_pictures import png
from tests.support.station import DATA_KEY, FrozenClock, House

CHANNEL = "corp"
PUBLIC_URL = "https://police.example.org"
USERIDS = {"zhang": "zhangwei", "li": "lina", "fu": "FuJing", "suo": "suo"}  # as the corporation writes them
PNG = png(b"a poster")
WANG = "wmWang-0001"  # a resident, as WeCom knows him


def settings(wechat: FakeWeChat, **changed: Any) -> Config:
    channel = {
        "kind": "wecom",
        "name": CHANNEL,
        "corp_id": CORP_ID,
        "agent_id": AGENT_ID,
        "secret": CORP_SECRET,
        "token": CORP_TOKEN,
        "encoding_aes_key": CORP_AES_KEY,
        "api_base": f"{wechat.url}/wecom",
        "login_base": f"{wechat.url}/wecom",
        "customer_contact": True,
        **changed.pop("channel", {}),
    }
    account = changed.pop("kf", None)
    customer_service = [{"kind": "kf", "name": "kefu", **account}] if account else []
    return parse_config(
        {
            "station": {"name": "枫林派出所"},
            "server": {"public_url": PUBLIC_URL},
            "security": {"data_key": DATA_KEY, **changed.pop("security", {})},
            "channels": [{"kind": "webchat", "name": "web"}, *customer_service, channel],
            **changed,
        },
        {},
    )


@dataclass
class Browser:
    """Somebody at the console's public address; keeps cookies, follows nothing by itself."""

    session: ClientSession
    root: str
    csrf: str = ""

    async def get(self, address: str, **extra: Any) -> ClientResponse:
        path = address.removeprefix(PUBLIC_URL)
        response = await self.session.get(self.root + path, allow_redirects=False, **extra)
        found = re.search(r'name="csrf" value="([^"]+)"', await response.text())
        self.csrf = found[1] if found else self.csrf
        return response

    async def post(self, path: str, **fields: str) -> ClientResponse:
        headers = {"X-CSRF-Token": self.csrf}
        return await self.session.post(self.root + path, data=fields, headers=headers, allow_redirects=False)

    async def press_wecom(self, *, following: str = "", inside: bool = False) -> str:
        """Press 企业微信登录; the address WeCom's page sends the browser back to."""
        agent = "Mozilla/5.0 wxwork/4.1 MicroMessenger" if inside else "Mozilla/5.0"
        begun = await self.get(f"/console/login/wecom?next={following}", headers={"User-Agent": agent})
        assert begun.status == 303
        async with ClientSession() as outside:
            page = await outside.get(begun.headers["Location"], allow_redirects=False)
        assert page.status == 302, await page.text()
        return page.headers["Location"]

    async def log_in(self, **how: Any) -> ClientResponse:
        response = await self.get(await self.press_wecom(**how))
        if response.status == 303 and "second-factor" not in response.headers["Location"]:
            await self.get("/console/me")
        return response


@dataclass
class Office:
    """The station, its WeCom channel and console, and the corporation in the emulator."""

    house: House
    wechat: FakeWeChat
    channel: WeComChannel
    pusher: CorpPusher
    desk: jobs.Desk
    root: str
    frozen: FrozenClock
    stack: AsyncExitStack

    @property
    def corp(self) -> Corp:
        return self.wechat.wecom

    @property
    def wecom(self) -> WeComDesk:
        assert self.desk.wecom is not None
        return self.desk.wecom

    # -- time ------------------------------------------------------------------------------------------------------

    def forward(self, **span: float) -> None:
        self.frozen.forward(**span)  # the emulator's time is the program's

    async def greeted(self) -> None:
        """Wait until the greetings under way have ended."""
        if self.channel._greetings:
            await asyncio.wait(self.channel._greetings)

    async def tell(self) -> None:
        await jobs.tell_officers(self.desk)

    async def move(self) -> None:
        """Warnings as the clock moves them."""
        await jobs.move_broadcasts(self.desk)
        await jobs.move_tasks(self.desk)
        await jobs.move_broadcasts(self.desk)

    async def look_up(self) -> None:
        await jobs.look_up_friends(self.desk)

    async def compare(self) -> None:
        await jobs.compare_friends(self.desk)

    async def compare_at_its_time(self) -> None:
        """The next comparison that is due."""
        self.forward(hours=6)
        await self.compare()

    # -- people ----------------------------------------------------------------------------------------------------

    def inbox(self, username: str) -> list[dict[str, Any]]:
        """The cards on an officer's phone."""
        member = self.corp.members.find(USERIDS[username])
        assert member is not None
        return [message["textcard"] for message in member.inbox]

    def titles(self, username: str) -> list[str]:
        return [card["title"] for card in self.inbox(username)]

    async def browser(self) -> Browser:
        session = await self.stack.enter_async_context(
            ClientSession(cookie_jar=CookieJar(unsafe=True, treat_as_secure_origin=URL(self.root)))
        )
        return Browser(session, self.root)

    async def at_the_desk(self, username: str) -> Browser:
        """An officer who logged in by WeCom."""
        self.corp.members.at_the_screen = USERIDS[username]
        browser = await self.browser()
        assert (await browser.log_in()).status == 303
        return browser

    # -- tickets ---------------------------------------------------------------------------------------------------

    async def open_ticket(
        self,
        *,
        urgent: bool = False,
        community: str | None = "枫林社区",
        sender: str = "visitor-1",
        topic: str = "idcard.lost",
    ) -> Ticket:
        now = clock.now()
        place = await self.house.community(community) if community else None
        async with self.house.store.write() as session:
            conversation = await conversations.ensure(session, self.house.station.id, Address("web", sender), now=now)
            conversation.resident.community_id = place
            return await tickets.open_ticket(
                session,
                conversation,
                priority=Priority.URGENT if urgent else Priority.NORMAL,
                topic=topic,
                subject="骗子让我转账六万，我住三幢502",
                message_id=None,
                now=now,
                timezone=self.house.station.timezone,
            )

    async def take(self, ticket: Ticket, username: str) -> None:
        officer = await self.house.officer(username)
        async with self.house.store.write() as session:
            row = await session.get_one(Ticket, ticket.id)
            await tickets.take(session, row, officer, actor=Actor(row.station_id, officer.id))

    # -- friends ---------------------------------------------------------------------------------------------------

    async def way(self, username: str = "zhang", community: str = "枫林社区") -> ContactWay:
        """An officer's QR code for a community."""
        place, person = await self.house.community(community), await self.house.officer(username)
        async with self.house.store.write() as session:
            officer, where = await session.get_one(Officer, person.id), await session.get_one(Community, place)
            way = await contacts.ensure_way(session, officer, where, actor=Actor(self.house.station.id))
        made = await self.channel.app.add_contact_way(officer.wecom_userid or "", way.code, where.name)
        async with self.house.store.write() as session:
            await contacts.way_made(session, way.id, made)
        found: ContactWay = await self.house.one(select(ContactWay).where(ContactWay.id == way.id))
        return found

    async def befriend(self, *external_userids: str, username: str = "zhang", community: str = "枫林社区") -> None:
        """Residents scan the officer's code."""
        way = await self.way(username, community)
        for external_userid in external_userids:
            await self.corp.contacts.scan(way.config_id, external_userid)

    def words_to(self, external_userid: str = WANG, username: str = "zhang") -> list[str]:
        """What a resident reads in his chat with an officer."""
        return [bubble.words for bubble in self.corp.contacts.chat(USERIDS[username], external_userid)]

    async def contacts(self) -> Sequence[WeComContact]:
        return await self.house.all(select(WeComContact).order_by(WeComContact.id))

    # -- warnings --------------------------------------------------------------------------------------------------

    async def warn(self, **changed: Any) -> int:
        """A warning to everybody, written by one and approved by another; its number."""
        author, approver = await self.house.officer("zhang"), await self.house.officer("suo")
        draft = Draft(title="防骗提醒", body="凡是要求转账到安全账户的都是诈骗。", audience=Audience(), **changed)
        async with self.house.store.write() as session:
            row = await broadcasts.create(session, author, draft, actor=Actor(self.house.station.id, author.id))
            await broadcasts.submit(session, row, actor=Actor(self.house.station.id, author.id))
            seal = broadcasts.seal_of(row)
            await broadcasts.approve(session, row, approver, seal=seal, actor=Actor(self.house.station.id, approver.id))
            return row.id

    async def keep_picture(self) -> int:
        """A picture for a warning; its number."""
        async with self.house.store.write() as session:
            return await broadcasts.keep_picture(session, self.house.station.id, PNG)

    async def stop(self, broadcast_id: int) -> None:
        async with self.house.store.write() as session:
            row = await session.get_one(Broadcast, broadcast_id)
            await broadcasts.stop(session, row, why="写错了", actor=Actor(self.house.station.id))

    async def ends(self, broadcast_id: int) -> dict[str, tuple[str, str]]:
        """State and reason of each recipient, by his address."""
        async with self.house.store.read() as session:
            rows = await session.execute(
                select(ResidentAddress.address, Delivery.state, Delivery.reason)
                .join(ResidentAddress, ResidentAddress.id == Delivery.address_id)
                .where(Delivery.broadcast_id == broadcast_id)
            )
            return {address: (state.value, reason or "") for address, state, reason in rows}

    async def tasks(self) -> Sequence[WeComTask]:
        return await self.house.all(select(WeComTask).order_by(WeComTask.id))

    async def audited(self, action: str) -> list[Mapping[str, Any]]:
        rows = await self.house.all(select(AuditEvent).where(AuditEvent.action == action).order_by(AuditEvent.seq))
        return [row.details for row in rows]


@asynccontextmanager
async def opened(house: House, wechat: FakeWeChat, frozen: FrozenClock, **changed: Any) -> AsyncIterator[Office]:
    """The station's WeCom side over HTTP, without the clock's own ticking."""
    house.runtime.config = settings(wechat, **changed)
    config = next(one for one in house.runtime.config.channels if isinstance(one, WeComSettings))
    await _furnish(house, wechat)
    async with AsyncExitStack() as stack:
        desk = Contacts(house.runtime, config.name)
        channel = WeComChannel(
            config,
            desk=desk,
            tokens=StoredTokens(house.store, house.station.id),
            pictures=StoredPictures(house.store, house.station.id),
        )
        stack.push_async_callback(channel.close)
        app = web.Application()
        app.add_routes(channel.routes())
        kinds = {"web": "webchat", config.name: "wecom"}
        add_console(app, ConsoleDesk(runtime=house.runtime, channels=kinds, rules={}, wecom=channel.app))
        server = TestServer(app)
        await server.start_server()
        stack.push_async_callback(server.close)
        root = f"http://127.0.0.1:{server.port}"
        pusher = await stack.enter_async_context(CorpPusher(f"{root}/callback/{config.name}", corp=wechat.wecom))
        house.desk = jobs.Desk(
            **{
                **{name: getattr(house.desk, name) for name in house.desk.__dataclass_fields__},
                "wecom": WeComDesk(
                    store=house.store,
                    station_id=house.station.id,
                    timezone=house.station.timezone,
                    app=channel.app,
                    public_url=PUBLIC_URL,
                    on_call=config.on_call,
                    titles=house.runtime.topic_title,
                    greeting=desk.words_for,
                    warnings_a_day=config.warnings_a_day,
                ),
            }
        )
        yield Office(house, wechat, channel, pusher, house.desk, root, frozen, stack)


async def _furnish(house: House, wechat: FakeWeChat) -> None:
    """Everybody who answers residents is a member, too."""
    for username, userid in USERIDS.items():
        officer = await house.officer(username)
        wechat.wecom.members.add(userid, officer.name)
        async with house.store.write() as session:
            row = await session.get_one(Officer, officer.id)
            await officers.set_wecom(session, row, userid, actor=Actor(house.station.id))


async def community_of(office: Office, external_userid: str) -> str | None:
    """The name of the community a resident belongs to."""
    conversation = await _conversation(office, external_userid)
    return conversation.resident.community.name if conversation.resident.community else None


async def _conversation(office: Office, external_userid: str) -> Any:
    async with office.house.store.read() as session:
        found = await conversations.find(session, office.house.station.id, Address(CHANNEL, external_userid))
    assert found is not None
    return found


async def follows(office: Office, external_userid: str) -> bool:
    return bool((await _conversation(office, external_userid)).address.following)
