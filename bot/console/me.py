"""One's own account: password, second factor, duty hours."""

from aiohttp import web

from bot.actions import officers
from bot.actions.errors import ActionError
from bot.console.second_factor import new_or_typed_secret, qr_code
from bot.console.texts import WRONG_CODE
from bot.console.visit import Visit
from bot.security import passwords
from bot.security.passwords import LoginRefused, PasswordError
from bot.store.access import access_officer
from bot.store.queries import own_communities


async def show(visit: Visit) -> web.StreamResponse:
    """His account; while the password is one that somebody handed out, only the form to change it."""
    if visit.officer.password_given:
        return visit.page("given_password.html")
    async with visit.store.read() as session:
        communities = await own_communities(session, visit.officer)
    required = visit.desk.runtime.config.security.second_factor
    return visit.page("me.html", communities=communities, factor_required=required)


async def change_password(visit: Visit) -> web.StreamResponse:
    """Only who knows the old one; every other log-in of his ends."""
    new = visit.secret("new")
    if new != visit.secret("again"):
        raise ActionError("两次输入的新密码不一样，请重新输入。")
    try:
        passwords.check_new_password(new, visit.officer.username)
    except PasswordError as error:
        raise ActionError(str(error)) from error
    if new == visit.secret("current"):
        raise ActionError("新密码要和当前密码不一样，请换一个。")
    await _check_own_password(visit)
    password_hash = await passwords.hash_password(new)
    async with visit.store.write() as session:
        officer = await access_officer(session, visit.station_id, visit.officer.id, lock=True)
        await officers.set_password(session, officer, password_hash, keep=_session_id(visit), actor=visit.actor)
    return visit.go("/console/me", done="password")


async def show_second_factor(visit: Visit) -> web.StreamResponse:
    if visit.officer.totp_secret:
        return visit.go("/console/me")
    secret = new_or_typed_secret(visit)
    qr = qr_code(visit, visit.officer, secret)
    return visit.page("second_factor_setup.html", next="", secret=secret, qr=qr, action="/console/me/second-factor")


async def turn_on(visit: Visit) -> web.StreamResponse:
    secret = new_or_typed_secret(visit)
    async with visit.store.write() as session:
        officer = await access_officer(session, visit.station_id, visit.officer.id, lock=True)
        if officer.totp_secret:
            raise ActionError("动态口令已经开启。如需更换手机，请先关闭再重新开启。")
        if not passwords.use_code(officer, secret, visit.text("code")):
            raise ActionError(WRONG_CODE)
        await officers.set_second_factor(session, officer, secret, keep=_session_id(visit), actor=visit.actor)
    return visit.go("/console/me", done="factor_on")


async def turn_off(visit: Visit) -> web.StreamResponse:
    if visit.desk.runtime.config.security.second_factor:
        raise ActionError("本所要求使用动态口令，不能关闭。更换手机请联系管理员。")
    await _check_own_password(visit)
    async with visit.store.write() as session:
        officer = await access_officer(session, visit.station_id, visit.officer.id, lock=True)
        await officers.set_second_factor(session, officer, None, keep=_session_id(visit), actor=visit.actor)
    return visit.go("/console/me", done="factor_off")


async def _check_own_password(visit: Visit) -> None:
    """A page left open does not give the account away; throttled like a log-in."""
    officer = visit.officer
    async with visit.store.write() as session:
        try:
            await passwords.check_throttle(session, visit.station_id, officer.username, visit.ip)
        except LoginRefused as refused:
            raise ActionError(str(refused)) from refused
        attempt = await passwords.note_failure(session, visit.station_id, officer.username, visit.ip)
    if not await passwords.verify_password(officer.password_hash, visit.secret("current")):
        raise ActionError("当前密码不对，请重新输入。")
    async with visit.store.write() as session:
        await passwords.forgive(session, attempt)


def _session_id(visit: Visit) -> str | None:
    return visit.login.session_id if visit.login else None
