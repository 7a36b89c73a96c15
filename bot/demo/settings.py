"""The demo's settings: everything in one folder, a data key of its own made at the first start."""

import os
from pathlib import Path

from bot.config import Config, parse_config
from bot.store.encryption import new_key

STATION = "枫林派出所"
KEY_FILE = "demo.key"
DATABASE_FILE = "demo.db"


def demo_config(folder: Path, port: int) -> Config:
    """Settings of a demo station whose data lies in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return parse_config(
        {
            "station": {"name": STATION},
            "server": {"port": port, "public_url": f"http://127.0.0.1:{port}"},
            "database": {"url": f"sqlite+aiosqlite:///{folder / DATABASE_FILE}"},
            "security": {"data_key": _key(folder / KEY_FILE)},
            "channels": [{"kind": "webchat", "name": "web"}],
        },
        {},
        source="demo",
    )


def _key(file: Path) -> str:
    """The key of this folder's data; without it the database beside it cannot be read."""
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(new_key())
    return file.read_text(encoding="ascii").strip()
