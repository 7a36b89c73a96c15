"""Settings: config.yaml with secrets from the environment, checked before anything starts."""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
USERID = r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}"  # what WeCom calls its members
_CHANNEL_NAME = r"^[a-z][a-z0-9_-]{0,30}$"


class ConfigError(Exception):
    """The settings cannot be used; each line names the place and the remedy."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _not_empty(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().strip():
        raise ValueError("is empty; name the environment variable that holds it, as in ${NAME}")
    return value


def _web_address(value: str) -> str:
    if value and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
        raise ValueError(f"{value!r} is no web address; write it as https://police.example.org")
    return value


def _userid(value: str) -> str:
    if not re.fullmatch(USERID, value):
        raise ValueError(f"{value!r} is no WeCom userid; write it as it stands in the address book (账号)")
    return value


def _written_as(form: str, otherwise: str) -> AfterValidator:
    def check(value: SecretStr) -> SecretStr:
        if not re.fullmatch(form, value.get_secret_value()):
            raise ValueError(otherwise)
        return value

    return AfterValidator(check)


Secret = Annotated[SecretStr, AfterValidator(_not_empty)]
CallbackToken = Annotated[
    SecretStr, _written_as(r"[A-Za-z0-9]{3,32}", "the token is 3 to 32 letters and digits, as set on the platform")
]
AesKey = Annotated[
    SecretStr, _written_as(r"[A-Za-z0-9]{43}", "EncodingAESKey is 43 letters and digits, as shown on the platform")
]
WebAddress = Annotated[str, AfterValidator(_web_address)]
UserId = Annotated[str, AfterValidator(_userid)]


class StationSettings(_Settings):
    name: str = Field(min_length=1, max_length=80)
    timezone: str = "Asia/Shanghai"

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{value!r} is no time zone; use a name such as Asia/Shanghai") from error
        return value


class ServerSettings(_Settings):
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    public_url: WebAddress = ""
    trusted_proxies: tuple[str, ...] = ()

    @field_validator("trusted_proxies")
    @classmethod
    def _known_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                ip_network(network, strict=False)
            except ValueError as error:
                raise ValueError(f"{network!r} is no IP address or network such as 10.0.0.0/8") from error
        return value


class DatabaseSettings(_Settings):
    url: str = "sqlite+aiosqlite:///var/officer.db"

    @field_validator("url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if not value.startswith(("sqlite+aiosqlite:///", "postgresql+asyncpg://")):
            raise ValueError("the database is sqlite+aiosqlite:///FILE or postgresql+asyncpg://USER:PASSWORD@HOST/NAME")
        return value


class SecuritySettings(_Settings):
    data_key: Secret  # personal data at rest; python -m bot new-key makes one
    previous_keys: tuple[Secret, ...] = ()
    second_factor: bool = False  # every officer needs an authenticator app


class RetentionSettings(_Settings):
    messages_days: int = Field(default=1095, ge=30)  # chat logs: three years
    leavers_days: int = Field(default=30, ge=0)  # what a resident told of himself, after he stopped following
    web_visitors_days: int = Field(default=180, ge=1)  # a web visitor who never came back


class KnowledgeSettings(_Settings):
    questions: Path | None = None  # labelled questions that every change of the knowledge is measured against


class WebChatSettings(_Settings):
    kind: Literal["webchat"]
    name: str = Field(pattern=_CHANNEL_NAME)


class NoticeSettings(_Settings):
    """The notice that a message waits: a template of the account, and what goes into its fields."""

    kind: Literal["template", "subscription"]
    template_id: str = Field(min_length=1, max_length=80)
    fields: dict[str, str] = Field(min_length=1)  # {station}, {officer} and {time} are filled in

    @field_validator("fields")
    @classmethod
    def _known_places(cls, value: dict[str, str]) -> dict[str, str]:
        for name, words in value.items():
            unknown = set(re.findall(r"\{(\w*)\}", words)) - {"station", "officer", "time"}
            if unknown:
                raise ValueError(f"{name}: only {{station}}, {{officer}} and {{time}} can be filled in")
        return value


class MenuButton(_Settings):
    """A button under the chat: it says something (as if the resident had typed it), opens a page, or holds others."""

    name: str = Field(min_length=1)
    says: str = ""
    url: WebAddress = ""
    buttons: "tuple[MenuButton, ...]" = Field(default=(), max_length=5)

    @model_validator(mode="after")
    def _does_one_thing(self) -> "MenuButton":
        if bool(self.says) + bool(self.url) + bool(self.buttons) != 1:
            raise ValueError(f"the button {self.name!r} needs one of: says, url, buttons")
        _check_bytes(self.says, 128, f"what the button {self.name!r} says")
        _check_bytes(self.url, 1024, f"the address of the button {self.name!r}")
        for inner in self.buttons:
            if inner.buttons:
                raise ValueError(f"the button {inner.name!r} is inside another one and so cannot hold buttons")
            _check_bytes(inner.name, 60, f"the name {inner.name!r}")
        return self


def _check_bytes(text: str, most: int, what: str) -> None:
    if len(text.encode()) > most:
        raise ValueError(f"{what} is too long for WeChat: {len(text.encode())} bytes of {most} (a character has 3)")


_MENU = (
    MenuButton(
        name="咨询办事",
        buttons=(
            MenuButton(name="身份证丢了", says="身份证丢了怎么办"),
            MenuButton(name="办居住证", says="怎么办居住证"),
            MenuButton(name="办护照", says="怎么办护照"),
            MenuButton(name="我的求助进度", says="我的求助"),
            MenuButton(name="能问什么", says="菜单"),
        ),
    ),
    MenuButton(
        name="防骗求助",
        buttons=(
            MenuButton(name="被骗了怎么办", says="我被骗了怎么办"),
            MenuButton(name="这是不是骗子", says="这个电话是不是骗子"),
            MenuButton(name="找民警", says="找民警"),
        ),
    ),
    MenuButton(
        name="我的民警",
        buttons=(
            MenuButton(name="谁是我的民警", says="谁是我的民警"),
            MenuButton(name="登记", says="登记"),
            MenuButton(name="我的信息", says="我的信息"),
            MenuButton(name="关联其他渠道", says="绑定"),
        ),
    ),
)


class CallbackSettings(_Settings):
    """What every platform that calls us back signs and encrypts with."""

    token: CallbackToken
    encoding_aes_key: AesKey
    previous_aes_key: AesKey | None = None  # while the key is being changed on the platform
    clock_skew_seconds: int = Field(default=300, ge=1)

    @property
    def aes_keys(self) -> list[str]:
        """The present key, then the one before it while it is being changed."""
        return [key.get_secret_value() for key in (self.encoding_aes_key, self.previous_aes_key) if key is not None]


class OfficialAccountSettings(CallbackSettings):
    kind: Literal["official_account"]
    name: str = Field(pattern=_CHANNEL_NAME)
    account_type: Literal["service", "subscription"] = "service"
    verified: bool | None = None  # None: a service account is, a subscription account is not
    notice: NoticeSettings | None = None
    app_id: str = Field(min_length=1)
    secret: Secret
    api_base: WebAddress = "https://api.weixin.qq.com"
    allow_plaintext: bool = False  # only for an emulator or a test account: nothing protects a plaintext body
    menu: tuple[MenuButton, ...] = Field(default=_MENU, min_length=1, max_length=3)

    @field_validator("menu")
    @classmethod
    def _short_names(cls, value: tuple[MenuButton, ...]) -> tuple[MenuButton, ...]:
        for button in value:
            _check_bytes(button.name, 16, f"the name {button.name!r}")
        return value

    @property
    def is_verified(self) -> bool:
        return self.account_type == "service" if self.verified is None else self.verified


class WeComSettings(CallbackSettings):
    """A self-built app of the station's WeCom: officers' notices, log-in, and their friends among the residents."""

    kind: Literal["wecom"]
    name: str = Field(pattern=_CHANNEL_NAME)
    corp_id: str = Field(min_length=1)
    agent_id: int = Field(ge=1)
    secret: Secret
    api_base: WebAddress = "https://qyapi.weixin.qq.com"
    login_base: WebAddress = ""  # only for an emulator: the log-in pages; "" are WeCom's own
    customer_contact: bool = False  # officers have 客户联系: QR codes, welcomes, warnings by their tap
    warnings_a_day: int = Field(default=1, ge=1, le=31)  # for one resident; WeCom's own cap may be lower
    on_call: tuple[UserId, ...] = ()  # userids that are told of a ticket when none of its officers can be reached


class KfSettings(CallbackSettings):
    """One account of 微信客服. With `app` it is in the care of the app of that channel of kind wecom, whose callback,
    corporation and secrets are then its own."""

    kind: Literal["kf"]
    name: str = Field(pattern=_CHANNEL_NAME)
    app: str = ""
    corp_id: str = Field(min_length=1)
    secret: Secret
    open_kfid: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    api_base: WebAddress = "https://qyapi.weixin.qq.com"
    answer_age_minutes: int = Field(default=10, ge=0)  # what is older at the first start is stored, not answered
    # WeCom user ids a matter is handed to in the client; none: officers answer in our console
    servicers: tuple[UserId, ...] = ()


ChannelSettings = Annotated[
    WebChatSettings | OfficialAccountSettings | WeComSettings | KfSettings, Field(discriminator="kind")
]


_OF_THE_APP = (
    "corp_id",
    "secret",
    "token",
    "encoding_aes_key",
    "previous_aes_key",
    "clock_skew_seconds",
    "api_base",
)


def _with_its_app(channel: dict[str, Any], apps: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """An account of 微信客服 that names its app, with what the app has."""
    name = channel["app"]
    if not isinstance(name, str) or name not in apps:
        raise ValueError(f"app: {name!r} is no channel of kind wecom; write the name of the station's wecom channel")
    twice = sorted(set(channel) & set(_OF_THE_APP))
    if twice:
        raise ValueError(f"{channel.get('name')}: {twice[0]} is that of the app; leave it out, or leave app out")
    return channel | {key: apps[name][key] for key in _OF_THE_APP if key in apps[name]}


class Config(_Settings):
    """All settings; `load_config` reads them."""

    station: StationSettings
    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    security: SecuritySettings
    retention: RetentionSettings = RetentionSettings()
    knowledge: KnowledgeSettings = KnowledgeSettings()
    channels: tuple[ChannelSettings, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_app_for_both(cls, raw: Any) -> Any:
        channels = raw.get("channels") if isinstance(raw, dict) else None
        if not isinstance(channels, list) or not all(isinstance(channel, dict) for channel in channels):
            return raw
        apps = {channel.get("name"): channel for channel in channels if channel.get("kind") == "wecom"}
        filled = [
            _with_its_app(channel, apps) if channel.get("kind") == "kf" and channel.get("app") else channel
            for channel in channels
        ]
        return raw | {"channels": filled}

    @model_validator(mode="after")
    def _one_callback_for_an_app(self) -> "Config":
        apps = {(one.corp_id, one.secret): one.name for one in self.channels if isinstance(one, WeComSettings)}
        for one in self.channels:
            if isinstance(one, KfSettings) and not one.app and (app := apps.get((one.corp_id, one.secret))):
                raise ValueError(
                    f"{one.name} and {app} are one app of WeCom, which has one callback; in {one.name} write app: {app}"
                    " and leave out corp_id, secret, token and encoding_aes_key"
                )
        return self

    @model_validator(mode="after")
    def _different_names(self) -> "Config":
        names = [channel.name for channel in self.channels]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two channels are called {twice[0]!r}; each needs a name of its own")
        if sum(channel.kind == "webchat" for channel in self.channels) > 1:
            raise ValueError("there is one web chat at /chat; keep one channel of kind webchat")
        wecom = [channel for channel in self.channels if channel.kind == "wecom"]
        if len(wecom) > 1:
            raise ValueError("officers are in one WeCom; keep one channel of kind wecom")
        if wecom and not self.server.public_url:
            raise ValueError("WeCom leads officers to this program's pages; set server.public_url")
        return self


def load_config(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """The checked settings of a file; ConfigError says in sentences what is wrong and how to mend it."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file; copy config.yaml of the project and adapt it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}") from error
    return parse_config(raw, environment, source=str(path))


def parse_config(raw: object, environment: Mapping[str, str], *, source: str = "settings") -> Config:
    """Check settings that are already read; `${NAME}` is taken from `environment`."""
    if not isinstance(raw, dict):
        raise ConfigError(f"{source}: the settings must be a mapping with station, security and channels")
    missing: list[str] = []
    filled = _fill(raw, environment, "", missing)
    if missing:
        raise ConfigError("\n".join(f"{source}: {line}" for line in missing))
    try:
        return Config.model_validate(filled)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{source}: {line}" for line in _sentences(error))) from error


def _fill(value: Any, environment: Mapping[str, str], place: str, missing: list[str]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, environment, f"{place}.{key}".lstrip("."), missing) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, environment, f"{place}[{n}]", missing) for n, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    missing += [
        f"{place}: the environment variable {name} is missing or empty; set it before starting"
        for name in _VARIABLE.findall(value)
        if not environment.get(name)
    ]
    return _VARIABLE.sub(lambda match: environment.get(match[1], ""), value)


def _sentences(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in problem["loc"]) or "settings"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "there is no such setting; check the spelling against config.yaml of the project"
        elif problem["type"] == "missing":
            message = "is missing"
        lines.append(f"{place}: {message}")
    return lines
