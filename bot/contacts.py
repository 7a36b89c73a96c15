"""What the WeCom channel asks of the program (bot.channels.wecom.ContactDesk), answered from the database."""

from bot import clock
from bot.actions import contacts
from bot.actions.contacts import Happened, Met
from bot.channels.wecom import ContactEvent, Greeting
from bot.runtime import Runtime
from handlers.texts import text


class Contacts:
    """The ContactDesk of a station."""

    def __init__(self, runtime: Runtime, channel: str) -> None:
        self._runtime, self._channel = runtime, channel

    async def note(self, event: ContactEvent) -> Greeting | None:
        noted = Happened(
            channel=self._channel,
            change=event.change,
            userid=event.userid,
            external_userid=event.external_userid,
            at=event.at,
            state=event.state,
            welcome_code=event.welcome_code,
        )
        async with self._runtime.store.write() as session:
            met = await contacts.happened(session, self._runtime.station.id, noted, now=clock.now())
            return None if met is None else Greeting(met.contact.id, *self.words_for(met))

    def words_for(self, met: Met) -> tuple[str, str]:
        """The code of a welcome, and what a new friend reads first."""
        station, config = self._runtime.station, self._runtime.config
        address = f"{config.server.public_url.rstrip('/')}/chat"
        has_chat = any(channel.kind == "webchat" for channel in config.channels)
        words = text(
            "wecom_welcome",
            station=station.name,
            officer=met.officer.name if met.officer else text("wecom_officer_unknown"),
            community=met.community.name if met.community else text("wecom_community_unknown"),
            chat=text("wecom_welcome_chat", address=address) if has_chat else "",
        )
        return met.contact.welcome_code or "", words

    async def greeted(self, contact: int, *, arrived: bool) -> None:
        async with self._runtime.store.write() as session:
            await contacts.greeted(session, contact, arrived=arrived)
