"""The command line: python -m bot COMMAND."""

import gc

gc.disable()  # what is made while importing stays: looking through it again and again is a fifth of the start

import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Callable
from pathlib import Path

from bot.commands import CommandError, NotWellError, asking, channels, data, knowledge, people, serving
from bot.config import ConfigError
from bot.store.encryption import EncryptionError
from bot.store.models import Role

Command = Callable[[Namespace], None]
_DEFAULT_CONFIG = Path("config.yaml")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m bot", description="The neighbourhood officer (邻家警长).")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    demo = _add(commands, "demo", serving.demo, "a complete made-up station on embedded SQLite")
    demo.add_argument("--port", type=int, default=8000, help="the port on 127.0.0.1 (8000)")
    demo.add_argument("--data", type=Path, default=serving.DEFAULT_DATA, help="the folder of its data (var)")

    _with_config(_add(commands, "serve", serving.serve, "the real station, by its settings"))
    _with_config(_add(commands, "migrate", serving.migrate, "bring the database to the newest schema"))
    _with_config(_add(commands, "check-config", serving.check_config, "say what is wrong with the settings"))
    _with_config(
        _add(
            commands,
            "check-channels",
            channels.check,
            "say whether each channel works, and what to do where it does not",
        )
    )
    _with_config(
        _add(commands, "wechat-menu", channels.set_menus, "put the menu of the settings onto the official accounts")
    )
    _add(commands, "new-key", serving.make_key, "print a new key for personal data")

    officer = _with_config(_add(commands, "add-officer", people.add_officer, "add somebody who can log in"))
    officer.add_argument("username")
    officer.add_argument("name", help="as residents see it")
    officer.add_argument("--role", choices=[role.value for role in Role], default=Role.OFFICER.value)
    officer.add_argument("--badge", default="", help="badge number (警号)")
    officer.add_argument("--phone", default="", help="the number on the residents' card")
    officer.add_argument("--wecom", default="", metavar="USERID", help="the account in WeCom: notices and log-in")

    residents = _with_config(
        _add(commands, "import-residents", people.import_residents, "import residents from .xlsx or .csv")
    )
    residents.add_argument("file", type=Path)
    residents.add_argument("--skip-bad", action="store_true", help="import the good rows and leave out the bad ones")

    entries = _with_config(
        _add(
            commands,
            "import-knowledge",
            knowledge.import_knowledge,
            "make the station's own entries and settings live, from .yaml or .xlsx",
        )
    )
    entries.add_argument("file", type=Path)
    entries.add_argument("--skip-bad", action="store_true", help="import the good entries and leave out the bad ones")

    ask = _add(commands, "ask", asking.ask, "what the bot would do with a text, without sending anything")
    ask.add_argument("texts", nargs="+", metavar="TEXT", help="a text, then its follow-ups")
    ask.add_argument("--json", action="store_true", help="one JSON object for each text")

    measure = _add(commands, "evaluate", asking.measure, "measure the matcher on labelled questions")
    measure.add_argument("file", type=Path, metavar="FILE.tsv")
    measure.add_argument("--predictions", type=Path, metavar="OUT.tsv", help="write what was predicted for each line")
    measure.add_argument("--json", action="store_true", help="the report as JSON")

    for name, command, words in (
        ("backup", data.backup, "copy everything into FILE while the service runs"),
        ("restore", data.restore, "fill an empty database from FILE"),
    ):
        _with_config(_add(commands, name, command, words)).add_argument("file", type=Path)
    verify = _with_config(_add(commands, "verify-log", data.verify_log, "check the chain of the audit log"))
    verify.add_argument(
        "--anchor", type=Path, metavar="FILE", help="check the ends of the log in FILE as well, and add this one to it"
    )
    return parser


def _add(commands: "_SubParsersAction[ArgumentParser]", name: str, command: Command, words: str) -> ArgumentParser:
    parser = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
    parser.set_defaults(command=command)
    return parser


def _with_config(parser: ArgumentParser) -> ArgumentParser:
    parser.add_argument("--config", type=Path, default=_DEFAULT_CONFIG, help="the settings (config.yaml)")
    return parser


def main() -> int:
    gc.enable()
    arguments = _parser().parse_args()
    try:
        arguments.command(arguments)
    except NotWellError:
        return 1
    except (CommandError, ConfigError, EncryptionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
