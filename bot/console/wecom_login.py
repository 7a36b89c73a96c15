"""Coming in by WeCom: out to its page and back with a code; it counts as the password does."""

from urllib.parse import quote

from aiohttp import web

from bot.actions.audit import Actor, record
from bot.console import login
from bot.console.visit import Visit, our_page
from bot.security import wecom_login
from bot.security.passwords import LoginRefused
from bot.wecom import WeComApp, WeComRefused

_PATH = "/console/login/wecom"
_INSIDE = "wxwork"  # in the User-Agent of WeCom's own browser
_NO_CODE = "企业微信没有确认您的身份。请重新点“企业微信登录”，或改用密码。"


def _app(visit: Visit) -> WeComApp:
    if visit.desk.wecom is None:
        raise web.HTTPNotFound
    return visit.desk.wecom


async def begin(visit: Visit) -> web.StreamResponse:
    """Send the browser to WeCom. It comes back to our own public address, whatever the request called us."""
    app, state = _app(visit), wecom_login.new_state()
    target = quote(our_page(visit.asked("next")), safe="")
    back = f"{visit.desk.runtime.config.server.public_url.rstrip('/')}{_PATH}/back?next={target}"
    inside = _INSIDE in visit.request.headers.get("User-Agent", "").lower()
    response = web.Response(status=303, headers={"Location": app.login_address(back, state, inside=inside)})
    response.set_cookie(
        wecom_login.COOKIE,
        state,
        path=_PATH,
        httponly=True,
        secure=visit.https,
        samesite="Lax",  # it must come along when WeCom sends the browser back
        max_age=int(wecom_login.LASTS.total_seconds()),
    )
    return response


async def come_back(visit: Visit) -> web.StreamResponse:
    """WeCom sends the browser back: with a code if it knows who sits there."""
    _app(visit)
    state = visit.asked("state")
    # Many wrong ones from one address are throttled as wrong passwords are; an office shares its address, so that only
    # the address counts: each state is a name of its own.
    attempt, _ = await login.begin_attempt(visit, state)
    try:
        response = await _log_in(visit, state, attempt)
    except (LoginRefused, WeComRefused) as refused:
        sentence = refused.reason if isinstance(refused, WeComRefused) else str(refused)
        code = refused.code if isinstance(refused, WeComRefused) else "refused"
        async with visit.store.write() as session:
            actor = Actor(visit.station_id, None, visit.ip)
            await record(session, actor, "login.failed", "officer:unknown", details={"by": "wecom", "code": code})
        visit.problem = sentence
        response = await login.show(visit, anew=True)
        response.set_status(403)
    response.del_cookie(wecom_login.COOKIE, path=_PATH)
    return response


async def _log_in(visit: Visit, state: str, attempt: int) -> web.Response:
    wecom_login.check_state(state, visit.request.cookies.get(wecom_login.COOKIE, ""))
    code = visit.asked("code")
    async with visit.store.write() as session:
        await wecom_login.use_state(session, visit.station_id, state)
    if not code:
        raise LoginRefused(_NO_CODE)
    userid = await _app(visit).member_of(code)
    async with visit.store.read() as session:
        officer = await wecom_login.officer_of(session, visit.station_id, userid)
    return await login.let_in(visit, officer, attempt, our_page(visit.asked("next")), by="wecom")
