"""Calls to a platform's API: one token for all, errors read even in a 200, nothing sent twice by us."""

import json
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import structlog
from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientHttpProxyError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    FormData,
    InvalidURL,
)

from bot import clock
from bot.channels.base import Failure, Picture, SendError, TokenStore
from bot.channels.metrics import PLATFORM_ERRORS, TOKEN_FETCHES
from bot.channels.platform_errors import ErrorRow, ErrorTable, error_of, request_id_in
from bot.message import PICTURE_LIMIT_BYTES

CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 8.0

_ANSWER_LIMIT_BYTES = 1024 * 1024  # the longest answer, a page of 10,000 openids, is about 320 kB
_REFRESH_EARLY = timedelta(minutes=5)  # from then on the platform gives a new token and still takes the old one
_PAUSE_DOWN = timedelta(seconds=60)  # after a fault that only a person can mend
_PAUSE_BUSY = timedelta(seconds=10)  # after a token call that got no answer
_PAUSE_MOST = timedelta(minutes=10)  # however long the platform wants: somebody may have mended it
_TOKEN = re.compile(r"[\x21-\x7e]{1,2048}")  # it goes into an address; the documents ask for room for 512
_TOKEN_SECONDS = 7200  # no platform gives one for longer
_YOUNG = timedelta(minutes=1)  # a token refused so soon is not asked for again, but replaced
_EXPIRED = 42001  # on all of these platforms: the token was good and its time is over
_PICTURE_TYPES = {
    b"\xff\xd8\xff": ("image/jpeg", "jpg"),
    b"\x89PNG\r\n": ("image/png", "png"),
    b"GIF8": ("image/gif", "gif"),
}

UNREACHED = ErrorRow(Failure.RETRY, "连接不上微信平台，稍后自动重发。")
NOT_TAKEN = ErrorRow(Failure.RETRY, "微信平台没有接受请求，稍后自动重发。")
LOST = ErrorRow(Failure.UNKNOWN, "已经发出，但没有收到微信的回执，不知是否送达。请先向居民核实，再决定是否重发。")
_NO_PICTURE = ErrorRow(Failure.REFUSED, "居民发来的图片已过期或无法读取，请居民重新发送。")
_LARGE_FROM_RESIDENT = ErrorRow(Failure.REFUSED, "居民发来的图片超过 2 MB，无法保存，请居民缩小后再发。")
_LARGE_PICTURE = ErrorRow(Failure.REFUSED, "图片超过 2 MB，请缩小后再发。")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, not yet believed."""

    content_type: str
    data: bytes

    def as_object(self) -> Mapping[str, Any] | None:
        """The JSON object in the answer, whatever its Content-Type says; None if there is none."""
        try:
            value = json.loads(self.data)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


class PlatformApi(ABC):
    """A platform's API for one account. Every method raises SendError only, whose text holds no token, secret or
    address of a resident."""

    def __init__(
        self,
        *,
        channel: str,
        api_base: str,
        tokens: TokenStore,
        errors: ErrorTable,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._channel = channel
        self._base = api_base.rstrip("/")
        self._tokens = tokens
        self._errors = errors
        self._timeout = ClientTimeout(total=total_seconds, connect=min(CONNECT_SECONDS, total_seconds))
        self._http: ClientSession | None = None
        # Processes do not all ask in the same second.
        self._refresh_early = _REFRESH_EARLY - timedelta(seconds=random.uniform(0, 30))
        self._no_refresh_before: datetime | None = None
        self._paused: tuple[datetime, SendError] | None = None
        self._fetched: tuple[str, datetime] = ("", clock.now())
        self.clock_skew: timedelta | None = None  # how far our clock is ahead of the platform's; None: not known

    @abstractmethod
    async def _ask_for_token(self, *, force: bool) -> Answer:
        """The platform's answer to the call that gives a token; `force`: not the one it gave before."""

    async def ask(self, path: str, body: Mapping[str, object] | None = None, **parameters: str) -> Mapping[str, Any]:
        """A call that only reads, so that it may be repeated: GET, or POST when there is a body."""
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()

        async def attempt(token: str) -> Answer:
            return await self._request(
                "GET" if data is None else "POST",
                path,
                {"access_token": token, **parameters},
                lost=NOT_TAKEN,
                data=data,
                content_type=None if data is None else "application/json",
            )

        return await self._with_token(attempt, lost=NOT_TAKEN)

    async def post(
        self, path: str, body: Mapping[str, object], *, also_accepted: Collection[int] = ()
    ) -> Mapping[str, Any]:
        """POST a JSON body; the answer's object when the platform accepted it, or answered with one of these codes.

        For calls with an effect.
        """
        # Raw UTF-8: the platform takes \\uXXXX for the letters themselves in some places (menu names: 40033).
        data = json.dumps(body, ensure_ascii=False).encode()

        async def attempt(token: str) -> Answer:
            return await self._request(
                "POST", path, {"access_token": token}, lost=LOST, data=data, content_type="application/json"
            )

        answer = await self._with_token(attempt, lost=LOST, also_accepted=also_accepted)
        if "errcode" not in answer:  # calls with an effect always answer with one
            raise self._failed(LOST, "bad_answer")
        return answer

    async def upload_picture(self, picture: Picture) -> str:
        """Give a picture to the platform for three days; its media id."""
        if len(picture.data) > PICTURE_LIMIT_BYTES:
            raise self._failed(_LARGE_PICTURE, "picture_size")
        kind = picture_type(picture.data)
        if kind is None:
            raise self._failed(self._errors.row_for(40008), "picture_type")

        async def attempt(token: str) -> Answer:
            form = FormData()  # built anew each time: a repeated upload must not send a body already read
            form.add_field("media", picture.data, filename=f"picture.{kind[1]}", content_type=kind[0])
            parameters = {"access_token": token, "type": "image"}
            return await self._request("POST", "/cgi-bin/media/upload", parameters, lost=NOT_TAKEN, data=form)

        media_id = (await self._with_token(attempt, lost=NOT_TAKEN)).get("media_id")
        if not isinstance(media_id, str) or not media_id:
            raise self._failed(NOT_TAKEN, "bad_answer")
        return media_id

    async def download_picture(self, media_id: str) -> Picture:
        """A picture a resident sent, while the platform keeps it (three days)."""
        pictures: list[Picture] = []

        async def attempt(token: str) -> Answer:
            parameters = {"access_token": token, "media_id": media_id}
            answer = await self._request(
                "GET",
                "/cgi-bin/media/get",
                parameters,
                lost=NOT_TAKEN,
                limit=PICTURE_LIMIT_BYTES,
                oversize=_LARGE_FROM_RESIDENT,
            )
            # Bytes when it worked and JSON when it did not; the header alone is sometimes wrong.
            kind = picture_type(answer.data)
            if kind is not None:
                pictures.append(Picture(kind[0], answer.data))
                return Answer("application/json", b'{"errcode": 0}')
            return answer

        await self._with_token(attempt, lost=_NO_PICTURE)
        if not pictures:
            raise self._failed(_NO_PICTURE, "no_picture")
        return pictures[0]

    async def check_token(self) -> int:
        """Ask for a token as if we had none, and forget it; for how many seconds it is good. For the self-check."""
        _token, expires_at = await self._fetch_token(force=False)
        return round((expires_at - clock.now()).total_seconds())

    async def is_answered(self, path: str, body: Mapping[str, object] | None = None) -> bool:
        """Whether a call that only reads is accepted now; not held up by a pause."""
        self._paused = None
        try:
            await self.ask(path, body)
        except SendError:
            return False
        return True

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    # -- token -----------------------------------------------------------------------------------------------------

    async def _with_token(
        self, attempt: Callable[[str], Awaitable[Answer]], *, lost: ErrorRow, also_accepted: Collection[int] = ()
    ) -> Mapping[str, Any]:
        """The answer of a call; once more with another token if the platform did not like the first."""
        token = await self._token()
        answer, code = self._read(await attempt(token), lost)
        if code in self._errors.token_codes:
            token = await self._token(refused=token, expired=code == _EXPIRED)
            answer, code = self._read(await attempt(token), lost)
            if code in self._errors.token_codes:
                # Never a third time: asking on and on would use up the account's tokens and mend nothing.
                error = self._failed(self._errors.row_for(code), code, answer)
                self._pause(error)
                raise error
        if code not in self._errors.accepted_codes and code not in also_accepted:
            raise self._failed(self._errors.row_for(code), code, answer)
        return answer

    async def _token(self, *, refused: str | None = None, expired: bool = False) -> str:
        self._check_pause()
        held = await self._tokens.get(self._channel)
        if held is None:
            return await self._new_token(None)
        token, expires_at = held
        if token == refused or expires_at <= clock.now():
            return await self._new_token(token, refused=not expired and token == refused)
        if expires_at - self._refresh_early <= clock.now() and not self._refresh_is_too_soon():
            # Not at each call: WeCom goes on giving the same token to its end, and a failure leaves this one good.
            self._no_refresh_before = clock.now() + _PAUSE_DOWN
            try:
                return await self._new_token(token, pausing=False)
            except SendError:
                pass
        return token

    async def _new_token(self, stale: str | None, *, refused: bool = False, pausing: bool = True) -> str:
        """Ask for a token, unless another process has; who comes while one asks waits for it and asks no more."""

        async def fetch() -> tuple[str, datetime]:
            self._check_pause()  # who waited for a fetch that failed does not ask again at once
            try:
                young = refused and self._fetched[0] == stale and clock.now() < self._fetched[1] + _YOUNG
                token, expires_at = await self._fetch_token(force=young)
                if token == stale and not young and expires_at - clock.now() > _REFRESH_EARLY:
                    # The platform would go on giving the token it has just refused.
                    token, expires_at = await self._fetch_token(force=True)
                self._fetched = token, clock.now()
            except SendError as error:
                if pausing:
                    self._pause(error)
                raise
            return token, expires_at

        return (await self._tokens.replace(self._channel, stale, fetch))[0]

    async def _fetch_token(self, *, force: bool) -> tuple[str, datetime]:
        try:
            answer, code = self._read(await self._ask_for_token(force=force), UNREACHED)
            if code != 0:
                raise self._failed(self._errors.token_row_for(code), code, answer)
            token, seconds = answer.get("access_token"), answer.get("expires_in")
            if not isinstance(token, str) or not _TOKEN.fullmatch(token):
                raise self._failed(UNREACHED, "bad_answer")
            if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds <= 0:
                raise self._failed(UNREACHED, "bad_answer")
            seconds = min(seconds, _TOKEN_SECONDS)
        except SendError:
            TOKEN_FETCHES.labels(self._channel, "failed").inc()
            raise
        TOKEN_FETCHES.labels(self._channel, "fetched").inc()
        _log.info("access token fetched", channel=self._channel, forced=force, seconds=seconds)
        return token, clock.now() + timedelta(seconds=seconds)

    def _refresh_is_too_soon(self) -> bool:
        return self._no_refresh_before is not None and clock.now() < self._no_refresh_before

    def _pause(self, error: SendError) -> None:
        """Let calls fail at once for a while, so that a queue of deliveries does not beat on a locked door."""
        length = _PAUSE_DOWN if error.failure is Failure.CHANNEL_DOWN else _PAUSE_BUSY
        length = min(max(length, error.after or length), _PAUSE_MOST)
        self._paused = (clock.now() + length, error)

    def _check_pause(self) -> None:
        if self._paused is None:
            return
        until, error = self._paused
        if clock.now() < until:
            raise SendError(error.failure, error.code, error.reason, after=error.after or until - clock.now())
        self._paused = None

    # -- HTTP ------------------------------------------------------------------------------------------------------

    async def _request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        *,
        lost: ErrorRow,
        data: bytes | FormData | None = None,
        content_type: str | None = None,
        limit: int = _ANSWER_LIMIT_BYTES,
        oversize: ErrorRow | None = None,
    ) -> Answer:
        """One request. `lost` says what it means if the request went out and no proper answer came back.

        aiohttp's errors hold the address with its token, so they end here (`from None`).
        """
        headers = {"Content-Type": content_type} if content_type else {}
        try:
            async with self._session().request(
                method, self._base + path, params=parameters, data=data, headers=headers, allow_redirects=False
            ) as response:
                self._compare_clocks(response.headers.get("Date", ""))
                if response.status >= 500:
                    raise self._failed(lost, f"http_{response.status}")
                if response.status != 200:
                    raise self._failed(NOT_TAKEN, f"http_{response.status}")
                content = await read_limited(response.content.iter_chunked(65536), limit)
                if content is None:
                    raise self._failed(oversize or lost, "answer_size")
                return Answer(response.content_type, content)
        except (ClientConnectorError, ConnectionTimeoutError, ClientHttpProxyError, InvalidURL) as error:
            raise self._failed(UNREACHED, _name(error)) from None  # nothing has left this machine
        except (TimeoutError, ClientError, OSError) as error:
            raise self._failed(lost, _name(error)) from None

    def _compare_clocks(self, date: str) -> None:
        try:
            self.clock_skew = clock.now() - parsedate_to_datetime(date)
        except (TypeError, ValueError, OverflowError):
            self.clock_skew = None  # it does not say

    def _read(self, answer: Answer, lost: ErrorRow) -> tuple[Mapping[str, Any], int]:
        """The object in an answer and its errcode; success of some calls has none."""
        found = answer.as_object()
        if found is None:
            raise self._failed(lost, "bad_answer")
        code = found.get("errcode", 0)
        if isinstance(code, bool) or not isinstance(code, int):
            raise self._failed(lost, "bad_answer")
        return found, code

    def _failed(self, row: ErrorRow, code: int | str, answer: Mapping[str, Any] | None = None) -> SendError:
        errmsg = str((answer or {}).get("errmsg", ""))
        PLATFORM_ERRORS.labels(
            self._channel, str(code) if isinstance(code, str) or code in self._errors.rows else "other"
        ).inc()
        log = _log.error if row.alarm else _log.warning
        log(
            "platform call failed",
            channel=self._channel,
            code=code,
            failure=row.failure.value,
            rid=request_id_in(errmsg),
        )
        return error_of(row, code, errmsg)

    def _session(self) -> ClientSession:
        if self._http is None:
            self._http = ClientSession(timeout=self._timeout, cookie_jar=DummyCookieJar())
        return self._http


async def read_limited(chunks: Any, limit: int) -> bytes | None:
    """All the chunks together; None when they are more than `limit` bytes."""
    content = bytearray()
    async for chunk in chunks:
        content += chunk
        if len(content) > limit:
            return None
    return bytes(content)


def picture_type(data: bytes) -> tuple[str, str] | None:
    """Content type and file ending of a picture, by its first bytes; None when it is none."""
    return next((kind for start, kind in _PICTURE_TYPES.items() if data.startswith(start)), None)


def _name(error: BaseException) -> str:
    """A short code from the kind of an error: server_disconnected."""
    if isinstance(error, TimeoutError):
        return "timeout"
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__.removesuffix("Error")).lower()[:20]
