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
Phone:  {url}/

config.yaml:
channels:
  - kind: official_account
    name: fenglin
    account_type: service
    app_id: {app_id}
    secret: ${{WECHAT_SECRET}}
    token: ${{WECHAT_TOKEN}}
    encoding_aes_key: ${{WECHAT_AES_KEY}}
    api_base: {url}

environment:
export WECHAT_SECRET={secret} WECHAT_TOKEN={token} WECHAT_AES_KEY={aes_key}

WeCom and WeChat customer service:
api_base: {url}/wecom   corp_id: {corp_id}   agent_id: {agent_id}   secret: {corp_secret}
token: {corp_token}   encoding_aes_key: {corp_aes_key}   open_kfid: {open_kfid}
members: zhang, li, suo
"""


async def _serve(arguments: argparse.Namespace) -> None:
    async with (
        FakeWeChat(app_id=arguments.app_id, secret=arguments.secret, port=arguments.port) as wechat,
        AsyncExitStack() as connected,
    ):
        _fill(wechat)
        if arguments.callback:
            await connected.enter_async_context(
                pusher.Pusher(arguments.callback, app_id=arguments.app_id, wechat=wechat)
            )
        if arguments.corp_callback:
            await connected.enter_async_context(corp_pusher.CorpPusher(arguments.corp_callback, corp=wechat.wecom))
        if arguments.kf_callback:
            kf = corp_pusher.CorpPusher(arguments.kf_callback, corp=wechat.wecom, modules=("kf",))
            await connected.enter_async_context(kf)
        _say(wechat)
        while True:
            await wechat.settle()
            await asyncio.sleep(_PUMP_SECONDS)


def _fill(wechat: FakeWeChat) -> None:
    """A corporation with three officers, and a customer service account they serve."""
    for userid, name in (("zhang", "张伟"), ("li", "李娜"), ("suo", "所长")):
        wechat.wecom.members.add(userid, name)
    wechat.wecom.kf.add_account(OPEN_KFID, "枫林派出所", servicers=("zhang", "li"))
    wechat.rules.mass_finish_seconds = 3


def _say(wechat: FakeWeChat) -> None:
    words = _SETTINGS.format(
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
    sys.stdout.write(f"{wechat.url}\n{words}")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.fakes.wechat", description="A WeChat to try the program against"
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--callback", default="", help="the program's callback, http://127.0.0.1:8000/callback/fenglin")
    parser.add_argument("--corp-callback", default="", help="the program's callback for WeCom")
    parser.add_argument("--kf-callback", default="", help="its callback for customer service, if it is another one")
    parser.add_argument("--app-id", default=pusher.APP_ID)
    parser.add_argument("--secret", default="s3cr3t-of-the-account")
    try:
        asyncio.run(_serve(parser.parse_args()))
    except KeyboardInterrupt:
        sys.exit(0)
