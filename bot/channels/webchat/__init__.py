"""The residents' web chat: a page for the phone at /chat, live by server-sent events, readable without JavaScript."""

from bot.channels.webchat.channel import WebChat
from bot.channels.webchat.desk import VisitorDesk

__all__ = ["VisitorDesk", "WebChat"]
