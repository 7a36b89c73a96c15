"""python -m tests.fakes.wechat: a WeChat to try the program against by hand, with a page that plays the phone."""

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack

from tests.fakes.wechat import pusher
from tests.fakes.wechat.emulator import FakeWeChat
from tests.fakes.wechat.wecom import apps
from tests.fakes.wechat.wecom import pusher as corp_pusher

OPEN_KFID = "wkFenglin0001"
_PUMP_SECONDS = 0.3
_SETTINGS = """\
Phone: {url}/

# Environment of the program:
export WECHAT_SECRET={secret} WECHAT_TOKEN={token} WECHAT_AES_KEY={aes_key}
export WECOM_SECRET={corp_secret} WECOM_TOKEN={corp_token} WECOM_AES_KEY={corp_aes_key}

# For its config.yaml (WeCom needs server.public_url as well):
channels:
  - kind: official_account
    name: fenglin
    app_id: {app_id}
    secret: ${{WECHAT_SECRET}}
    token: ${{WECHAT_TOKEN}}
    encoding_aes_key: ${{WECHAT_AES_KEY}}
    api_base: {url}
  - kind: kf
    name: kefu
    app: corp
    open_kfid: {open_kfid}
  - kind: wecom
    name: corp
    corp_id: {corp_id}
    agent_id: {agent_id}
    secret: ${{WECOM_SECRET}}
    token: ${{WECOM_TOKEN}}
    encoding_aes_key: ${{WECOM_AES_KEY}}
    api_base: {url}/wecom
    login_base: {url}/wecom
    customer_contact: true

# Officers the corporation knows: zhang, li, suo.
"""


async def _serve(arguments: argparse.Namespace) -> None:
    async with (
        FakeWeChat(app_id=arguments.app_id, secret=arguments.secret, port=arguments.port) as wechat,
        AsyncExitStack() as connected,
    ):
        _fill(wechat)
        if arguments.callback:
            await _connect(wechat, connected, arguments.callback)
        sys.stdout.write(f"{wechat.url}\n{settings_for(wechat)}")
        sys.stdout.flush()
        while True:
            await wechat.settle()
            await asyncio.sleep(_PUMP_SECONDS)


async def _connect(wechat: FakeWeChat, connected: AsyncExitStack, callback: str) -> None:
    """To the account's callback, and to the one of the corporation's app beside it."""
    corp = f"{callback.rpartition('/')[0]}/corp"
    for one in (
        pusher.Pusher(callback, app_id=wechat.app_id, wechat=wechat),
        corp_pusher.CorpPusher(corp, corp=wechat.wecom),
    ):
        await connected.enter_async_context(one)


def _fill(wechat: FakeWeChat) -> None:
    """A corporation with three officers, and a customer service account they serve."""
    for userid, name in (("zhang", "张伟"), ("li", "李娜"), ("suo", "所长")):
        wechat.wecom.members.add(userid, name)
    wechat.wecom.kf.add_account(OPEN_KFID, "枫林派出所", servicers=("zhang", "li"))
    wechat.rules.mass_finish_seconds = 3


def settings_for(wechat: FakeWeChat) -> str:
    """What connects the program to it: environment and channels."""
    return _SETTINGS.format(
        url=wechat.url,
        app_id=wechat.app_id,
        secret=wechat.secret,
        token=pusher.TOKEN,
        aes_key=pusher.AES_KEY,
        corp_id=apps.CORP_ID,
        agent_id=apps.AGENT_ID,
        corp_secret=apps.CORP_SECRET,
        corp_token=corp_pusher.CORP_TOKEN,
        corp_aes_key=corp_pusher.CORP_AES_KEY,
        open_kfid=OPEN_KFID,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.fakes.wechat", description="A WeChat to try the program against"
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--callback",
        default="",
        help="of the program's official account, http://127.0.0.1:8000/callback/fenglin; corp lies beside it",
    )
    parser.add_argument("--app-id", default=pusher.APP_ID)
    parser.add_argument("--secret", default="s3cr3t-of-the-account")
    try:
        asyncio.run(_serve(parser.parse_args()))
    except KeyboardInterrupt:
        sys.exit(0)
