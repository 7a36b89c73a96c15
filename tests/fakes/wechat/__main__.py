"""python -m tests.fakes.wechat: a WeChat to try the program against by hand."""

import argparse
import asyncio
import sys

from tests.fakes.wechat.emulator import FakeWeChat


async def _serve(arguments: argparse.Namespace) -> None:
    async with FakeWeChat(app_id=arguments.app_id, secret=arguments.secret, port=arguments.port) as wechat:
        sys.stdout.write(f"{wechat.url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.fakes.wechat", description="A WeChat to try the program against"
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--app-id", default="wx0000000000000001")
    parser.add_argument("--secret", default="s3cr3t-of-the-account")
    try:
        asyncio.run(_serve(parser.parse_args()))
    except KeyboardInterrupt:
        sys.exit(0)
