"""Registration in the chat: community, birth year, occupation, language; skipped, shown, corrected or deleted."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from bot.actions import residents, tickets
from bot.actions.audit import Actor
from bot.message import Choice, Reply
from bot.router import Answer, Context, Router, Turn, asks, has_text, in_dialogue, is_held, says
from bot.store.models import Resident
from handlers import menu
from handlers.texts import text

router = Router("registration")
plain = Router("plain answers to a step")  # before the guard: 司机 or a village's name by itself is no call for help

SKIP_WORDS = ("跳过", "不填", "不想说", "不方便", "skip")
QUIT_WORDS = ("退出", "停止", "算了", "不登记了", "取消", "quit", "stop")
CONFIRM_WORDS = ("确认删除", "confirm delete")
SKIP_OR_QUIT = {  # by: in English
    False: (Choice("跳过", "跳过"), Choice("退出", "退出")),
    True: (Choice("Skip", "skip"), Choice("Quit", "quit")),
}
DELETE_OR_KEEP = {
    False: (Choice("确认删除", "确认删除"), Choice("不删除", "不删除")),
    True: (Choice("Confirm delete", "confirm delete"), Choice("No", "no")),
}
_LONGEST_TRY = 14  # characters: whoever names his village or work does not write more
_DIGITS = str.maketrans("〇零一二三四五六七八九", "00123456789")
_STEPS = ("community", "birth_year", "occupation", "language")
_CHANGES: Mapping[str, tuple[str, ...]] = {
    "community": ("修改社区", "change community"),
    "birth_year": ("修改出生年份", "修改年龄", "change birth year"),
    "occupation": ("修改职业", "change occupation"),
    "language": ("修改语言", "change language"),
}
_OCCUPATIONS_EN = dict(
    zip(
        (
            "retired", "farmer", "employee", "own business", "courier or delivery", "driver", "student", "teacher",
            "doctor or nurse", "finance or accounting", "public servant", "at home", "construction worker",
            "freelance", "out of work", "other",
        ),
        residents.OCCUPATIONS,
        strict=True,
    )
)  # fmt: skip
_LANGUAGE_WORDS = dict.fromkeys(("1", "中文", "汉语", "chinese"), "zh") | dict.fromkeys(
    ("2", "english", "英文", "英语"), "en"
)


@dataclass(frozen=True, slots=True)
class Step:
    """What a resident's answer to one step means: what to write down, or what to ask again.

    `plain`: the message is the answer and nothing besides.
    """

    save: Callable[[Turn], Awaitable[None]] | None = None
    again: str = ""
    plain: bool = False


# --- beginning, showing, correcting, deleting -----------------------------------------------------------------------


@router.handle(says("登记", "注册", "我要登记", "我想登记", "登记信息", "register"))
async def begin(context: Context) -> Answer:
    return Answer(_question(context, "community"), "dialogue", dialogue=_state(context, "community"))


@router.handle(says(*(word for words in _CHANGES.values() for word in words)))
async def change(context: Context) -> Answer:
    step = next(step for step, words in _CHANGES.items() if says(*words)(context))
    return Answer(_question(context, step), "dialogue", dialogue=_state(context, step, only=True))


@router.handle(says("我的信息", "我的资料", "查看登记", "my data"))
async def show(context: Context) -> Answer:
    summary = _summary(context.conversation.resident, context.english)
    return Answer(Reply(text("my_data", english=context.english, summary=summary)), "chat")


@router.handle(says("删除我的信息", "删除我的资料", "注销登记", "delete my data"))
async def ask_before_deleting(context: Context) -> Answer:
    async with context.read() as session:
        ticket = await tickets.unclosed(session, context.conversation.id)
    if ticket is not None:
        return Answer(Reply(text("delete_open_ticket", english=context.english, number=ticket.number)), "chat")
    choices = DELETE_OR_KEEP[context.english]
    asked = Reply(text("delete_confirm", english=context.english), choices)
    return Answer(asked, "dialogue", dialogue={"name": "delete"})


@router.handle(in_dialogue("delete"), says(*CONFIRM_WORDS))
async def delete(context: Context) -> Answer:
    async def erase(turn: Turn) -> Reply:
        actor = Actor(turn.conversation.station_id)
        resident = turn.conversation.resident
        await residents.erase(turn.session, resident, now=context.now, actor=actor, why="居民本人在对话中要求删除")
        return Reply(text("deleted", english=context.english))

    return Answer(None, "dialogue", act=erase)


@router.handle(in_dialogue("delete"), says("不删除", "不", "不要", "取消", "no"))
async def keep(context: Context) -> Answer:
    return Answer(Reply(text("not_deleted", english=context.english)), "dialogue")


# --- the steps ------------------------------------------------------------------------------------------------------


@router.handle(in_dialogue("register"), says(*QUIT_WORDS))
async def stop(context: Context) -> Answer:
    return Answer(Reply(text("register_quit", english=_english(context))), "dialogue")


@plain.handle(in_dialogue("register"), has_text)
async def plainly_answered(context: Context) -> Answer | None:
    if is_held(context):
        return None
    name = str(context.dialogue["step"])
    step = await _READ[name](context)
    return _taken(context, name, step) if step.plain else None


@router.handle(in_dialogue("register"), has_text)
async def step_answered(context: Context) -> Answer | None:
    """The answer to the step asked last. A question in its place is answered as a question, and the dialogue ends."""
    name = str(context.dialogue["step"])
    step = Step() if says(*SKIP_WORDS)(context) else await _READ[name](context)
    if not step.again:
        return _taken(context, name, step)
    if await _means_otherwise(context):
        return None  # not an answer to this: let the other routers have it
    return Answer(
        Reply(step.again, SKIP_OR_QUIT[_english(context)]),
        "dialogue",
        dialogue={**context.dialogue, "asked_again": True},
    )


async def _means_otherwise(context: Context) -> bool:
    """Whether the message is no try at an answer: the second that is none, a menu word, a question we know."""
    if "asked_again" in context.dialogue or await menu.router.answer(context) is not None:
        return True
    tries = len(context.text) <= _LONGEST_TRY and not asks(context)
    return context.match.topic is not None and not tries


def _taken(context: Context, name: str, step: Step) -> Answer:
    """What was answered is written down, and the next step asked."""
    following = _after(context, name)

    async def save(turn: Turn) -> Reply:
        if step.save:
            await step.save(turn)
        if following is not None:
            return _question(context, following)
        resident = turn.conversation.resident
        await turn.session.flush()
        await turn.session.refresh(resident, ["community"])
        english = _english(context)
        return Reply(text("register_done", english=english, summary=_summary(resident, english)))

    return Answer(None, "dialogue", dialogue=None if following is None else _state(context, following), act=save)


def _state(context: Context, step: str, *, only: bool = False) -> dict[str, object]:
    return {"name": "register", "step": step, "only": only, "english": _english(context)}


def _english(context: Context) -> bool:
    """A dialogue stays in the language it began in: in an English one the name of a village is still Chinese."""
    if context.dialogue.get("name") == "register":
        return bool(context.dialogue.get("english"))
    return context.english


def _after(context: Context, step: str) -> str | None:
    if context.dialogue.get("only"):
        return None
    position = _STEPS.index(step) + 1
    return _STEPS[position] if position < len(_STEPS) else None


def _question(context: Context, step: str) -> Reply:
    english = _english(context)
    if step == "community":
        return Reply(text("register_start", english=english), SKIP_OR_QUIT[english])
    if step == "occupation":
        options = "  ".join(
            f"{n} {name}" for n, name in enumerate(_OCCUPATIONS_EN if english else residents.OCCUPATIONS, 1)
        )
        return Reply(text("register_occupation", english=english, options=options), SKIP_OR_QUIT[english])
    choices = (Choice("中文", "1"), Choice("English", "2")) if step == "language" else SKIP_OR_QUIT[english]
    return Reply(text(f"register_{step}", english=english), choices)


async def _read_community(context: Context) -> Step:
    async with context.read() as session:
        known = await residents.communities(session, context.station.id)
    said = context.text.strip("。 ")
    exact = [row for row in known if row.name == said]
    like = exact or [row for row in known if said in row.name or row.name.rstrip("村社区") in said]
    if not like:
        names = "、".join(row.name for row in known)
        return Step(again=text("register_community_again", english=_english(context), said=said[:20], names=names))
    if len(like) > 1:
        names = "、".join(row.name for row in like)
        return Step(again=text("register_community_which", english=_english(context), names=names))

    async def save(turn: Turn) -> None:
        actor = Actor(turn.conversation.station_id)
        await residents.bind_community(turn.session, turn.conversation.resident, like[0].id, how="told", actor=actor)

    return Step(save, plain=len(said) > 1 and said in like[0].name)


async def _read_birth_year(context: Context) -> Step:
    said = context.text.translate(_DIGITS)
    found = re.fullmatch(r"\D*(\d{4})\s*年?\D*", said)
    age = re.fullmatch(r"\D{0,4}(\d{1,3})\s*岁\D?", said)
    year = int(found[1]) if found else context.now.year - int(age[1]) if age else 0
    if not residents.OLDEST_BIRTH_YEAR <= year <= context.now.year:
        return Step(again=text("register_birth_year_again", english=_english(context)))

    async def save(turn: Turn) -> None:
        actor = Actor(turn.conversation.station_id)
        await residents.describe(turn.session, turn.conversation.resident, birth_year=year, actor=actor)

    return Step(save, plain=said.removesuffix("年").isdecimal())


async def _read_occupation(context: Context) -> Step:
    said = context.text.strip("。 ")
    names = residents.OCCUPATIONS
    occupation = names[int(said) - 1] if said.isdecimal() and 0 < int(said) <= len(names) else None
    occupation = occupation or _OCCUPATIONS_EN.get(said.casefold())
    occupation = occupation or next((name for name in names if len(said) > 1 and (said in name or name in said)), None)
    if occupation is None:
        return Step(again=text("register_occupation_again", english=_english(context)))

    async def save(turn: Turn) -> None:
        actor = Actor(turn.conversation.station_id)
        await residents.describe(turn.session, turn.conversation.resident, occupation=occupation, actor=actor)

    return Step(save, plain=said.isdecimal() or said in occupation or said.casefold() in _OCCUPATIONS_EN)


async def _read_language(context: Context) -> Step:
    language = _LANGUAGE_WORDS.get(context.text.strip("。. ").casefold())
    if language is None:
        return Step(again=text("register_language_again", english=_english(context)))

    async def save(turn: Turn) -> None:
        actor = Actor(turn.conversation.station_id)
        await residents.describe(turn.session, turn.conversation.resident, language=language, actor=actor)

    return Step(save)


_READ: Mapping[str, Callable[[Context], Awaitable[Step]]] = {
    "community": _read_community,
    "birth_year": _read_birth_year,
    "occupation": _read_occupation,
    "language": _read_language,
}


def _summary(resident: Resident, english: bool) -> str:
    not_told = text("not_told", english=english)
    return text(
        "summary",
        english=english,
        community=resident.community.name if resident.community else not_told,
        birth_year=resident.birth_year or not_told,
        occupation=resident.occupation or not_told,
        language=residents.LANGUAGES.get(resident.language, resident.language),
        warnings=text("warnings_on" if resident.wants_warnings else "warnings_off", english=english),
    )
