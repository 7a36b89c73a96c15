"""Coming in: password, second factor, and leaving."""

import hmac
import secrets
from urllib.parse import quote

from aiohttp import web

from bot.actions import officers
from bot.actions.audit import Actor, record
from bot.actions.errors import ActionError
from bot.console.second_factor import new_or_typed_secret, qr_code
from bot.console.texts import WRONG_CODE, WRONG_LOGIN
from bot.console.visit import Visit, our_page
from bot.security import passwords, sessions
from bot.security.passwords import LoginRefused
from bot.security.sessions import LoggedIn
from bot.store.access import access_officer
from bot.store.models import Officer

_FORM_COOKIE = "officer_login"  # its value stands in the form too: before the log-in there is no session to hold it


# --- the password ---


async def show(visit: Visit, *, anew: bool = False) -> web.Response:
    """The form; who is logged in already goes on, unless somebody tried to log in `anew`."""
    if visit.login is not None and visit.login.second_factor_done and not anew:
        return visit.go(our_page(visit.asked("next")))
    token = visit.request.cookies.get(_FORM_COOKIE) or secrets.token_urlsafe(24)
    target = our_page(visit.asked("next") or visit.text("next"))
    by_wecom = f"/console/login/wecom?next={quote(target, safe='')}" if visit.desk.wecom is not None else ""
    response = visit.page("login.html", token=token, next=target, by_wecom=by_wecom)
    response.set_cookie(
        _FORM_COOKIE, token, path="/console/login", httponly=True, secure=visit.https, samesite="Strict"
    )
    return response


async def submit(visit: Visit) -> web.StreamResponse:
    given, expected = visit.text("token"), visit.request.cookies.get(_FORM_COOKIE, "")
    if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
        raise ActionError("登录页面已过期，请重新填写。")  # a stranger's page may not log people in as himself
    username = visit.text("username").casefold()
    attempt, officer = await begin_attempt(visit, username)
    fits = await passwords.verify_password(officer.password_hash if officer else "", visit.secret("password"))
    if officer is None or not fits:
        await _audit_failure(visit, officer)
        raise ActionError(WRONG_LOGIN)
    return await let_in(visit, officer, attempt, our_page(visit.text("next")), by="password")


async def let_in(visit: Visit, officer: Officer, attempt: int, target: str, *, by: str) -> web.Response:
    """Begin the log-in of somebody who proved who he is, `by` "password" or "wecom"; a second factor may follow."""
    done = not (officer.totp_secret or visit.desk.runtime.config.security.second_factor)
    async with visit.store.write() as session:
        await passwords.forgive(session, attempt)
        if visit.login is not None:
            await sessions.end(session, visit.login.session_id)
        cookie = await sessions.begin(session, officer, visit.ip, second_factor_done=done)
        actor = Actor(visit.station_id, officer.id, visit.ip)
        await record(session, actor, "login", f"officer:{officer.id}", details={"by": by})
    response = visit.go(target if done else f"/console/second-factor?next={quote(target, safe='')}")
    response.set_cookie(
        sessions.COOKIE,
        cookie,
        path="/",
        httponly=True,
        secure=visit.https,
        samesite="Lax",
        max_age=int(sessions.LASTS.total_seconds()),
    )
    return response


async def begin_attempt(visit: Visit, username: str) -> tuple[int, Officer | None]:
    """Count the attempt as failed before looking at the password, so that many at once cannot slip through."""
    async with visit.store.write() as session:
        try:
            await passwords.check_throttle(session, visit.station_id, username, visit.ip)
        except LoginRefused as refused:
            raise ActionError(str(refused)) from refused
        attempt = await passwords.note_failure(session, visit.station_id, username, visit.ip)
        return attempt, await passwords.find_officer(session, visit.station_id, username)


async def _audit_failure(visit: Visit, officer: Officer | None) -> None:
    """The name that was typed is not kept: people type passwords into the wrong field."""
    async with visit.store.write() as session:
        subject = f"officer:{officer.id}" if officer else "officer:unknown"
        await record(session, Actor(visit.station_id, None, visit.ip), "login.failed", subject)


async def leave(visit: Visit) -> web.StreamResponse:
    if visit.login is not None:
        async with visit.store.write() as session:
            await sessions.end(session, visit.login.session_id)
            await record(session, visit.actor, "logout", f"officer:{visit.officer.id}")
    response = visit.go("/console/login", done="logged_out")
    response.del_cookie(sessions.COOKIE, path="/")
    return response


# --- the second factor ---


async def show_second_factor(visit: Visit) -> web.StreamResponse:
    """Ask for the code; who has no authenticator yet but needs one sets it up here."""
    login = _half_way(visit)
    target = our_page(visit.asked("next") or visit.text("next"))
    if login.second_factor_done:
        return visit.go(target)
    if login.officer.totp_secret:
        return visit.page("second_factor.html", next=target)
    secret = new_or_typed_secret(visit)
    qr = qr_code(visit, login.officer, secret)
    return visit.page("second_factor_setup.html", next=target, secret=secret, qr=qr, action="/console/second-factor")


async def submit_second_factor(visit: Visit) -> web.StreamResponse:
    login = _half_way(visit)
    officer = login.officer
    if login.second_factor_done:
        return visit.go(our_page(visit.text("next")))
    secret = officer.totp_secret or new_or_typed_secret(visit)
    attempt, _ = await begin_attempt(visit, officer.username)
    async with visit.store.write() as session:
        row = await access_officer(session, visit.station_id, officer.id, lock=True)
        fits = passwords.use_code(row, secret, visit.text("code"))
    if not fits:
        await _audit_failure(visit, officer)
        raise ActionError(WRONG_CODE)
    async with visit.store.write() as session:
        await passwords.forgive(session, attempt)
        if not officer.totp_secret:
            row = await access_officer(session, visit.station_id, officer.id, lock=True)
            await officers.set_second_factor(session, row, secret, keep=login.session_id, actor=visit.actor)
        await sessions.pass_second_factor(session, login.session_id)
        await record(session, visit.actor, "login.second_factor", f"officer:{officer.id}")
    return visit.go(our_page(visit.text("next")))


def _half_way(visit: Visit) -> LoggedIn:
    if visit.login is None:
        raise web.HTTPForbidden
    return visit.login
