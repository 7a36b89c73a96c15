"""Drives pages in the system's Chromium as a person would, on a phone or on a desk."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, TypedDict
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, ViewportSize, async_playwright

Device = Literal["phone", "desk"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OURSELVES = {"127.0.0.1", "localhost", "::1"}
_SWITCHES = [
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    # Every other name and address is unknown: a page that needs the outside world is broken in a police station too.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
]
_WAIT_MILLISECONDS = 30_000


class _Look(TypedDict):
    viewport: ViewportSize
    has_touch: bool
    is_mobile: bool
    device_scale_factor: float


DEVICES: dict[Device, _Look] = {
    "phone": _Look(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2),
    "desk": _Look(viewport={"width": 1280, "height": 800}, has_touch=False, is_mobile=False, device_scale_factor=1),
}


class PageError(AssertionError):
    """A page complained on its console, threw an error or asked the outside world for something."""


@dataclass
class People:
    """The people at the browser: each has a device and cookies of his own. Their pages' faults are kept for the end."""

    browser: Browser
    faults: list[str] = field(default_factory=list)

    async def open(
        self,
        device: Device = "desk",
        *,
        base_url: str | None = None,
        expected_errors: tuple[str, ...] = (),
        javascript: bool = True,
    ) -> Page:
        """A new person with an empty page; console errors that contain one of `expected_errors` are no fault."""
        context = await self.browser.new_context(
            **DEVICES[device],
            base_url=base_url,
            java_script_enabled=javascript,
            locale="zh-CN",
            timezone_id="Asia/Shanghai",
        )
        context.set_default_timeout(_WAIT_MILLISECONDS)
        self._watch(context, expected_errors)
        return await context.new_page()

    def check(self) -> None:
        if self.faults:
            raise PageError("\n".join(self.faults))

    def _watch(self, context: BrowserContext, expected: tuple[str, ...]) -> None:
        def on_console(message: ConsoleMessage) -> None:
            if message.type == "error" and not any(words in message.text for words in expected):
                self.faults.append(f"console: {message.text} ({message.location.get('url', '')})")

        def on_request(request: Request) -> None:
            address = urlsplit(request.url)
            if address.scheme in {"http", "https", "ws", "wss"} and address.hostname not in _OURSELVES:
                self.faults.append(f"request to the outside: {request.url}")

        context.on("console", on_console)
        context.on("request", on_request)
        context.on("weberror", lambda error: self.faults.append(f"error in the page: {error.error}"))


def chromium() -> str:
    """The path of the system's Chromium; CHROMIUM names another one."""
    for name in (os.environ.get("CHROMIUM", ""), *_NAMES):
        if name and (found := shutil.which(name)):
            return found
    raise FileNotFoundError("Chromium is not on this machine: run .ci/system-packages")


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """A new Chromium with an empty profile, ended with its processes at the end."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=_SWITCHES)
        try:
            yield browser
        finally:
            await browser.close()
