"""The whole program wired together: resources opened in order, closed in the opposite one."""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

import handlers
from bot import checkup, health
from bot.actions import stations
from bot.actions.streams import StreamKey
from bot.adapters import RecentTokens, StoredPictures, StoredStream, StoredTokens
from bot.api.app import add_api
from bot.callbacks import CallbackSigns
from bot.channels.base import Channel, FollowerKeeper, SendError
from bot.channels.kf import Kf
from bot.channels.official_account import OfficialAccount
from bot.channels.webchat import WebChat
from bot.channels.wecom import WeComChannel
from bot.checks import ChannelReport
from bot.config import (
    ChannelSettings,
    Config,
    ConfigError,
    KfSettings,
    OfficialAccountSettings,
    WebChatSettings,
    WeComSettings,
)
from bot.console.app import ConsoleDesk, add_console
from bot.contacts import Contacts
from bot.dispatcher import Dispatcher
from bot.router import StationInfo
from bot.runtime import Runtime
from bot.store import migrations
from bot.store.encryption import EncryptionError, use_keys
from bot.store.engine import Store
from bot.store.keys import check_keys
from bot.store.live import Kind
from bot.visitors import Visitors
from knowledge import Knowledge
from scheduler import jobs
from scheduler.mass import MassOutbox
from scheduler.outbox import Outbox
from scheduler.wecom import WeComDesk

log = logging.getLogger(__name__)

REQUEST_LIMIT_BYTES = 3 * 1024 * 1024  # a picture of 2 MB and its form


@dataclass(frozen=True)
class Program:
    """The parts of a running program, for those who start it: tests, the demo."""

    runtime: Runtime
    dispatcher: Dispatcher
    outbox: Outbox
    channels: Mapping[str, Channel]
    desk: jobs.Desk
    signs: CallbackSigns


PROGRAM = web.AppKey("program", Program)


async def create_app(config: Config, knowledge: Knowledge | None = None) -> web.Application:
    """The web application on an open database; ConfigError says what is missing before anything is served.

    `knowledge` if the caller has loaded it already.
    """
    load_keys(config)
    store = Store.open(config.database.url)
    runtime = Runtime(config, store, await _station(store, config), knowledge or Knowledge.load())
    await runtime.refresh()
    dispatcher = Dispatcher(runtime, handlers.answer, handlers.give_up)
    channels = {settings.name: _channel(settings, runtime, dispatcher) for settings in config.channels}
    _join_apps(config.channels, channels)
    outbox = Outbox(store, runtime.station.id, channels, station_name=runtime.station.name)

    signs = CallbackSigns(store, runtime.station.id, channels)
    app = web.Application(client_max_size=REQUEST_LIMIT_BYTES, middlewares=[signs.middleware()])
    app[PROGRAM] = Program(runtime, dispatcher, outbox, channels, _desk(runtime, dispatcher, outbox, channels), signs)
    for channel in channels.values():
        app.add_routes(channel.routes())
        if isinstance(channel, WebChat):
            app.on_shutdown.append(channel.end_streams)  # before the server waits for open requests
        if isinstance(channel, Kf):
            app.on_shutdown.append(channel.stop)  # before the dispatcher ends
    kinds = {name: channel.kind for name, channel in channels.items()}
    rules = {name: channel.rules for name, channel in channels.items()}
    wecom = next((channel.app for channel in channels.values() if isinstance(channel, WeComChannel)), None)
    add_api(app, runtime, rules)
    desk = ConsoleDesk(
        runtime=runtime,
        channels=kinds,
        rules=rules,
        wecom=wecom,
        check_channels=partial(check_channels, runtime, channels),
        scenes={
            name: partial(_scene, channel)
            for name, channel in channels.items()
            if isinstance(channel, FollowerKeeper) and channel.verified
        },
    )
    add_console(app, desk)
    app.cleanup_ctx.append(_clockwork)
    health.add_health(app, runtime, lambda: app[_CLOCKWORK].scheduler.running)
    return app


async def check_channels(runtime: Runtime, channels: Mapping[str, Channel]) -> Sequence[ChannelReport]:
    """The self-check of all channels."""
    return await checkup.report(runtime.store, runtime.station.id, channels, runtime.config.server.public_url)


async def _scene(keeper: FollowerKeeper, scene: str) -> str:
    try:
        return await keeper.scene_address(scene)
    except SendError as error:
        log.warning("no QR code", extra={"code": error.code})
        return ""


def load_keys(config: Config) -> None:
    """Make personal data readable to this process."""
    security = config.security
    use_keys(security.data_key.get_secret_value(), *(key.get_secret_value() for key in security.previous_keys))


async def _station(store: Store, config: Config) -> StationInfo:
    try:
        version = await migrations.version(store)
    except (SQLAlchemyError, OSError) as error:
        await store.close()
        why = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise ConfigError(f"the database does not answer ({why}); check database.url in the settings") from error
    if version != migrations.newest():
        await store.close()
        raise ConfigError("the database is not at the newest schema; run: python -m bot migrate")
    try:
        await check_keys(store)
    except EncryptionError:
        await store.close()
        raise
    async with store.read() as session:
        station = await stations.find(session, config.station.name)
    if station is None:
        await store.close()
        raise ConfigError(f"there is no station called {config.station.name!r} yet; run: python -m bot migrate")
    years = max(1, round(config.retention.messages_days / 365))
    return StationInfo(station.id, station.name, station.timezone, station.settings, years)


def _channel(settings: ChannelSettings, runtime: Runtime, dispatcher: Dispatcher) -> Channel:
    station_id = runtime.station.id
    match settings:
        case WebChatSettings():
            return WebChat(
                settings,
                feed=dispatcher.feed,
                visitors=Visitors(runtime, settings.name),
                signing_key=_derived_key(runtime.config, "web visitors"),
            )
        case OfficialAccountSettings():
            return OfficialAccount(
                settings,
                feed=dispatcher.feed if settings.is_verified else dispatcher.feed_with_waiting,
                tokens=RecentTokens(StoredTokens(runtime.store, station_id)),
                pictures=StoredPictures(runtime.store, station_id),
            )
        case KfSettings():
            return Kf(
                settings,
                stream=StoredStream(
                    runtime.store,
                    StreamKey(station_id, settings.name, settings.open_kfid),
                    answer_age=timedelta(minutes=settings.answer_age_minutes),
                    handle=dispatcher.handle,
                ),
                tokens=RecentTokens(StoredTokens(runtime.store, station_id)),
                pictures=StoredPictures(runtime.store, station_id),
            )
        case WeComSettings():
            return WeComChannel(
                settings,
                desk=Contacts(runtime, settings.name),
                tokens=RecentTokens(StoredTokens(runtime.store, station_id)),
                pictures=StoredPictures(runtime.store, station_id),
            )


def _join_apps(settings: Sequence[ChannelSettings], channels: Mapping[str, Channel]) -> None:
    """One app of WeCom may have the officers and accounts of 微信客服 in its care; it has one callback."""
    for one in settings:
        if isinstance(one, KfSettings) and one.app:
            account, app = channels[one.name], channels[one.app]
            if isinstance(account, Kf) and isinstance(app, WeComChannel):
                app.serve_account(one.open_kfid, account.wake)


def _desk(runtime: Runtime, dispatcher: Dispatcher, outbox: Outbox, channels: Mapping[str, Channel]) -> jobs.Desk:
    return jobs.Desk(
        store=runtime.store,
        station_id=runtime.station.id,
        timezone=runtime.station.timezone,
        messages_kept=timedelta(days=runtime.config.retention.messages_days),
        leavers_kept=timedelta(days=runtime.config.retention.leavers_days),
        visitors_kept=timedelta(days=runtime.config.retention.web_visitors_days),
        channels=channels,
        outbox=outbox,
        mass=MassOutbox(runtime.store, runtime.station.id, channels),
        resume=dispatcher.resume,
        refresh=runtime.refresh,
        words=lambda text: runtime.knowledge.words(text),  # noqa: PLW0108 (the knowledge may be replaced)
        wecom=_wecom_desk(runtime, channels),
    )


def _wecom_desk(runtime: Runtime, channels: Mapping[str, Channel]) -> WeComDesk | None:
    for settings in runtime.config.channels:
        channel = channels[settings.name]
        if isinstance(settings, WeComSettings) and isinstance(channel, WeComChannel):
            return WeComDesk(
                store=runtime.store,
                station_id=runtime.station.id,
                timezone=runtime.station.timezone,
                app=channel.app,
                public_url=runtime.config.server.public_url,
                on_call=settings.on_call,
                titles=runtime.topic_title,
                greeting=Contacts(runtime, settings.name).words_for,
                warnings_a_day=settings.warnings_a_day,
            )
    return None


def _derived_key(config: Config, purpose: str) -> bytes:
    """A key of its own for each purpose, from the one secret the station keeps."""
    return hmac.digest(config.security.data_key.get_secret_value().encode(), purpose.encode(), hashlib.sha256)


_CLOCKWORK = web.AppKey("clockwork", jobs.Clockwork)


async def _clockwork(app: web.Application) -> AsyncIterator[None]:
    """Runs while the application does: the jobs, and the outbox as soon as something is promised."""
    program = app[PROGRAM]
    runtime = program.runtime
    app[_CLOCKWORK] = jobs.Clockwork(program.desk)
    wakeful = asyncio.create_task(_send_at_once(runtime.store, program.outbox))
    yield
    await app[_CLOCKWORK].stop()
    wakeful.cancel()
    with suppress(asyncio.CancelledError):
        await wakeful
    await program.dispatcher.close()
    await program.signs.close()
    await program.outbox.close()
    await program.desk.mass.close()
    for channel in program.channels.values():
        await channel.close()
    await runtime.store.close()


async def _send_at_once(store: Store, outbox: Outbox) -> None:
    """The outbox need not wait for its next tick."""
    async with store.live.listen() as changes:
        while True:
            change = await changes.get()
            if change.kind in (Kind.DELIVERIES, Kind.RELOAD):
                try:
                    await outbox.work()
                except Exception:
                    log.exception("outbox failed; its next tick tries again")
