"""Settings: every mistake gets a sentence that names the place and the remedy."""

import re
from pathlib import Path
from typing import Any

import pytest

from bot.config import (
    Config,
    ConfigError,
    KfSettings,
    OfficialAccountSettings,
    WebChatSettings,
    WeComSettings,
    load_config,
    parse_config,
)
from tests.fakes.wechat.pusher import AES_KEY, TOKEN

PROJECT = Path(__file__).parent.parent
ACCOUNT = {
    "kind": "official_account", "name": "fenglin", "app_id": "wx1", "secret": "s", "token": TOKEN,
    "encoding_aes_key": AES_KEY,
}  # fmt: skip

KF = {
    "kind": "kf", "name": "kefu", "corp_id": "ww1", "secret": "s", "token": TOKEN, "encoding_aes_key": AES_KEY,
    "open_kfid": "wk1",
}  # fmt: skip


def settings(**changed: Any) -> dict[str, Any]:
    return {"station": {"name": "枫林派出所"}, "security": {"data_key": "k"}, **changed}


def account(**changed: Any) -> dict[str, Any]:
    return settings(channels=[{**ACCOUNT, **changed}])


CORP = {
    "kind": "wecom", "name": "corp", "corp_id": "ww1", "agent_id": 1, "secret": "s", "token": TOKEN,
    "encoding_aes_key": AES_KEY,
}  # fmt: skip


def corp(**changed: Any) -> dict[str, Any]:
    return settings(server={"public_url": "https://x.cn"}, channels=[{**CORP, **changed}])


def both(**kf: Any) -> dict[str, Any]:
    """An account of 微信客服 beside the station's WeCom app."""
    account = {"kind": "kf", "name": "kefu", "open_kfid": "wk1", **kf}
    return settings(server={"public_url": "https://x.cn"}, channels=[account, CORP])


MISTAKES: dict[str, tuple[object, str]] = {
    "one app written as two": (
        both(**KF),
        "kefu and corp are one app of WeCom, which has one callback; in kefu write app: corp and leave out",
    ),
    "an app and a secret": (
        both(app="corp", secret="s"),
        "kefu: secret is that of the app; leave it out, or leave app out",
    ),
    "an app that is none": (both(app="web"), "app: 'web' is no channel of kind wecom; write the name of"),
    "no mapping": ([], "settings: the settings must be a mapping with station, security and channels"),
    "empty file": (None, "must be a mapping"),
    "no station": ({"security": {"data_key": "k"}}, "settings: station: is missing"),
    "no security": ({"station": {"name": "x"}}, "security: is missing"),
    "no name": (settings(station={}), "station.name: is missing"),
    "empty name": (settings(station={"name": ""}), "station.name: "),
    "time zone": (
        settings(station={"name": "x", "timezone": "Beijing"}),
        "station.timezone: 'Beijing' is no time zone; use a name such as Asia/Shanghai",
    ),
    "unknown key": (
        settings(databas={"url": "x"}),
        "databas: there is no such setting; check the spelling against config.yaml of the project",
    ),
    "unknown inner key": (settings(server={"prt": 1}), "server.prt: there is no such setting"),
    "port": (settings(server={"port": 70000}), "server.port: "),
    "port word": (settings(server={"port": "eighty"}), "server.port: "),
    "proxy": (settings(server={"trusted_proxies": ["10.0.0.0/8", "proxy"]}), "'proxy' is no IP address or network"),
    "public url": (settings(server={"public_url": "police.example.org"}), "server.public_url: 'police.example.org' is"),
    "database": (settings(database={"url": "mysql://x"}), "database.url: the database is sqlite+aiosqlite:///FILE or"),
    "empty key": (settings(security={"data_key": " "}), "security.data_key: is empty; name the environment variable"),
    "retention": (settings(retention={"messages_days": 3}), "retention.messages_days: "),
    "kind": (settings(channels=[{"kind": "telegram", "name": "x"}]), "channels.0: "),
    "no kind": (settings(channels=[{"name": "x"}]), "channels.0: "),
    "channel name": (settings(channels=[{"kind": "webchat", "name": "Web Chat"}]), "channels.0.webchat.name: "),
    "same name": (
        settings(channels=[{"kind": "webchat", "name": "web"}, {"kind": "webchat", "name": "web"}]),
        "two channels are called 'web'; each needs a name of its own",
    ),
    "no secret": (account(secret=""), "channels.0.official_account.secret: is empty; name the environment variable"),
    "token": (account(token="a b"), "official_account.token: the token is 3 to 32 letters and digits"),
    "aes key": (account(encoding_aes_key="short"), "encoding_aes_key: EncodingAESKey is 43 letters and digits"),
    "old aes key": (account(previous_aes_key="short"), "previous_aes_key: EncodingAESKey is 43 letters and digits"),
    "kf account": (
        settings(channels=[{**KF, "open_kfid": "微信"}]),
        "channels.0.kf.open_kfid: ",
    ),
    "kf secret": (settings(channels=[{**KF, "secret": ""}]), "channels.0.kf.secret: is empty; name the environment"),
    "api base": (account(api_base="weixin"), "api_base: 'weixin' is no web address"),
    "app id": (account(app_id=""), "app_id: "),
    "agent id": (corp(agent_id="app"), "channels.0.wecom.agent_id: "),
    "corp secret": (corp(secret=" "), "channels.0.wecom.secret: is empty; name the environment variable"),
    "on call": (corp(on_call=["张伟"]), "on_call.0: '张伟' is no WeCom userid"),
    "two corps": (
        settings(server={"public_url": "https://x.cn"}, channels=[CORP, {**CORP, "name": "other"}]),
        "officers are in one WeCom; keep one channel of kind wecom",
    ),
    "corp without address": (settings(channels=[CORP]), "set server.public_url"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_place(mistake: str) -> None:
    raw, sentence = MISTAKES[mistake]
    with pytest.raises(ConfigError) as error:
        parse_config(raw, {})
    assert sentence in str(error.value)
    assert all(line.startswith("settings: ") for line in str(error.value).splitlines())


def test_all_mistakes_are_named_at_once() -> None:
    raw = settings(station={"name": "x", "timezone": "Mars"}, server={"port": -1}, retention={"messages_days": 1})
    with pytest.raises(ConfigError) as error:
        parse_config(raw, {})
    assert len(str(error.value).splitlines()) == 3


def test_all_missing_variables_are_named_at_once_with_their_places() -> None:
    raw = settings(
        security={"data_key": "${A}", "previous_keys": ["${B}"]}, database={"url": "postgresql+asyncpg://u:${C}@h/n"}
    )
    with pytest.raises(ConfigError) as error:
        parse_config(raw, {"C": ""})
    assert str(error.value).splitlines() == [
        "settings: security.data_key: the environment variable A is missing or empty; set it before starting",
        "settings: security.previous_keys[0]: the environment variable B is missing or empty; set it before starting",
        "settings: database.url: the environment variable C is missing or empty; set it before starting",
    ]


def test_no_sentence_gives_a_secret_away() -> None:
    raw = account(secret="${S}", token="${T}", encoding_aes_key="${K}")
    secrets = {"S": "topsecret-1", "T": "topsecret 2", "K": "topsecret-3"}
    with pytest.raises(ConfigError) as error:
        parse_config(raw, secrets)
    assert not [value for value in secrets.values() if value in str(error.value)]
    good = parse_config(account(), {})
    assert TOKEN not in repr(good)
    assert AES_KEY not in repr(good)


def test_variables_are_filled_in_also_inside_a_text() -> None:
    raw = settings(
        database={"url": "postgresql+asyncpg://u:${PASSWORD}@h/n"}, channels=[{"kind": "webchat", "name": "web"}]
    )
    config = parse_config(raw, {"PASSWORD": "p"})
    assert config.database.url == "postgresql+asyncpg://u:p@h/n"
    assert isinstance(config.channels[0], WebChatSettings)


def test_an_account_in_the_care_of_the_wecom_app_has_its_secrets() -> None:
    kf, app = parse_config(both(app="corp"), {}).channels
    assert isinstance(kf, KfSettings)
    assert isinstance(app, WeComSettings)
    assert (kf.corp_id, kf.secret, kf.aes_keys, kf.app) == (app.corp_id, app.secret, app.aes_keys, "corp")


def test_two_apps_of_one_corporation_are_two_channels() -> None:
    first, _ = parse_config(both(**{**KF, "secret": "another"}), {}).channels
    assert isinstance(first, KfSettings)
    assert first.app == ""


def test_a_settings_object_cannot_be_changed() -> None:
    config = parse_config(settings(), {})
    with pytest.raises(ValueError, match="frozen"):
        config.station = config.station


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no such file; copy config.yaml of the project and adapt it"),
        (b"station: [", "is not valid YAML"),
        (b"\xff\xfe", "cannot be read"),
    ],
    ids=["no file", "no YAML", "no UTF-8"],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    file = tmp_path / "config.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load_config(file, {})
    assert str(file) in str(error.value)
    assert sentence in str(error.value)


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, {})


def test_the_projects_own_file_needs_nothing_but_its_key() -> None:
    with pytest.raises(ConfigError, match="OFFICER_DATA_KEY"):
        load_config(PROJECT / "config.yaml", {})
    config: Config = load_config(PROJECT / "config.yaml", {"OFFICER_DATA_KEY": "k"})
    assert [channel.name for channel in config.channels] == ["web"]


def test_the_channels_that_are_commented_out_there_are_right_too(tmp_path: Path) -> None:
    """Who takes the comment signs away has channels that work."""
    text = (PROJECT / "config.yaml").read_text("utf-8")
    file = tmp_path / "config.yaml"
    file.write_text(re.sub(r"^  # (?=- |  )", "  ", text, flags=re.MULTILINE), encoding="utf-8")
    names = re.findall(r"\$\{(\w+)\}", text)
    config = load_config(file, {name: AES_KEY if name.endswith("AES_KEY") else name.replace("_", "") for name in names})
    kinds = [type(channel) for channel in config.channels]
    assert kinds == [WebChatSettings, OfficialAccountSettings, KfSettings, WeComSettings]
