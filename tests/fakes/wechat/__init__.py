"""A small real WeChat and WeCom for tests and for trying the program by hand: see emulator.py."""

from tests.fakes.wechat.clock import CHINA
from tests.fakes.wechat.emulator import FakeWeChat
from tests.fakes.wechat.faults import Effect, Fault
from tests.fakes.wechat.pusher import Pusher

__all__ = ["CHINA", "Effect", "FakeWeChat", "Fault", "Pusher"]
