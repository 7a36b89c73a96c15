"""How the bot learns: from what was not understood to a version that is measured, approved, live, and rolled back."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import LargeBinary, select, type_coerce
from sqlalchemy.exc import IntegrityError

from bot import clock
from bot.actions import entry_versions, learning, measuring, stations, tickets
from bot.actions.audit import Actor, check_chain
from bot.actions.errors import ActionError, Conflict, NotAllowed
from bot.actions.learning import Reason
from bot.actions.likeness import group_alike
from bot.runtime import Runtime
from bot.store.learning_queries import live_content, live_state, not_understood, settled
from bot.store.models import VERSION_ARROWS, AuditEvent, EntryVersion, Officer, StoredMessage, Ticket, VersionState
from knowledge import Knowledge, Question
from scheduler import jobs
from tests.support.station import FrozenClock, House, frozen_clock

MEASURED: dict[str, Any] = {"figures": [], "worse": [], "worse_count": 0, "better_count": 0, "held": None}
NIGHT_MARKET = {
    "topic": "own.night_market",
    "title": "夜市摆摊登记",
    "short": "到{station.name}领登记表，当天办好。",
    "owner": "社区警务室",
    "checked": "2026-11-20",
    "review_by": "2027-11-20",
    "sources": [{"rule": "枫林夜市管理公告", "in_force": "2026-05-01"}],
    "phrases": ["夜市摆摊要登记吗", "我想去夜市卖烤串怎么报名", "夜市的摊位找谁登记"],
}


@pytest.fixture
def time() -> Any:
    with frozen_clock() as frozen:
        yield frozen


@pytest.fixture
async def house(furnished_url: str, time: FrozenClock) -> AsyncIterator[House]:
    async with House.opened(furnished_url) as house:
        yield house


async def found(house: House, knowledge: Knowledge | None = None) -> list[learning.Group]:
    async with house.store.read() as session:
        asked = await not_understood(session, house.station.id, since=clock.now() - timedelta(days=30))
        done = await settled(session, house.station.id)
    return learning.groups(asked, done, knowledge or house.knowledge)


async def sentences(house: House) -> dict[str, Reason]:
    return {sentence.text: sentence.reason for group in await found(house) for sentence in group.sentences}


# --- what was not understood ----------------------------------------------------------------------------------------


async def test_unknown_unchosen_and_disliked_questions_are_listed_with_their_reason(house: House) -> None:
    await house.hear("麒麟证在哪里办", "o-1")
    await house.hear("身份证", "o-2")  # "did you mean", and he goes away
    await house.hear("身份证丢了怎么办", "o-3")
    await house.hear("没用", "o-3")
    await house.hear("身份证到期换领", "o-4")  # answered, nobody complains
    assert await sentences(house) == {
        "麒麟证在哪里办": Reason.UNKNOWN,
        "身份证": Reason.UNCHOSEN,
        "身份证丢了怎么办": Reason.DISLIKED,
    }


async def test_who_chose_one_of_the_topics_offered_was_understood(house: House) -> None:
    await house.hear("身份证")
    await house.hear("2")
    assert await sentences(house) == {}


async def test_none_of_these_was_not_understood(house: House) -> None:
    await house.hear("身份证")
    await house.hear("0")
    assert await sentences(house) == {"身份证": Reason.UNCHOSEN}


async def test_a_question_that_an_officer_says_was_about_something_else_is_listed(house: House) -> None:
    await house.hear("楼上太吵了")
    officer = await house.officer("zhang")
    async with house.store.write() as session:
        ticket = (await session.execute(select(Ticket))).scalar_one()
        actor = Actor(house.station.id, officer.id)
        await tickets.set_topic(session, ticket, officer, "idcard.lost", actor=actor)
    (group,) = await found(house)
    assert group.reasons == [Reason.CORRECTED]
    assert group.guesses == ["idcard.lost"]


async def test_the_same_words_are_one_sentence_and_counted(house: House) -> None:
    for sender, text in enumerate(("麒麟证在哪里办", "麒麟证在哪里办？", "麒麟证 在哪里办")):
        await house.hear(text, f"o-{sender}")
    await house.hear("麒麟证去哪里办理", "o-9")
    await house.hear("呜哩哇啦", "o-10")
    first, second = await found(house)
    assert [(sentence.text, sentence.count) for sentence in first.sentences] == [
        ("麒麟证去哪里办理", 1),
        ("麒麟证 在哪里办", 3),
    ]
    assert (first.count, second.count) == (4, 1)
    assert "麒麟" in "".join(first.words)


async def test_numbers_that_say_whose_matter_it_was_are_not_shown(house: House) -> None:
    await house.hear("138 1234 5678这个号码说我的31010119900101123X有麒麟案")
    (group,) = await found(house)
    assert group.sentences[0].text == "（号码）这个号码说我的（号码）有麒麟案"


async def test_what_is_not_to_be_learnt_is_not_listed_again(house: House) -> None:
    await house.hear("呜哩哇啦")
    officer = await house.officer("zhang")
    async with house.store.write() as session:
        keys = {learning.sentence_key("呜哩哇啦")}
        await learning.dismiss(session, officer, keys, actor=Actor(house.station.id, officer.id))
    await house.hear("呜哩哇啦！！", "o-2")
    assert await found(house) == []


async def test_what_has_been_learnt_since_is_not_listed(house: House, knowledge: Knowledge) -> None:
    await house.hear("身份证丢了，人在外地怎么补办")  # the small knowledge of this house does not know it
    assert len(await found(house)) == 1
    assert await found(house, knowledge) == []


async def test_other_stations_questions_are_theirs(house: House, furnished_url: str) -> None:
    await house.hear("麒麟证在哪里办")
    async with House.opened(furnished_url, name="柳岸派出所") as other:
        assert await found(other) == []


def test_sentences_alike_come_together_and_say_why() -> None:
    asked = ["夜市摆摊要登记吗", "夜市摆摊怎么登记", "楼上半夜跳舞", "楼上半夜拖桌子", "无人机"]
    groups = group_alike(asked, [1, 3, 1, 1, 1], lambda text: [text[:2]], [None] * 5)
    assert [group.members for group in groups] == [[1, 0], [2, 3], [4]]
    assert "夜市" in "".join(groups[0].words)


def test_thousands_of_questions_are_grouped_in_a_second_or_two(knowledge: Knowledge) -> None:
    asked = [phrase for entry in knowledge.entries.values() for phrase in entry.all_phrases()][::8]
    groups = group_alike(asked, [1] * len(asked), knowledge.words, [None] * len(asked))
    assert len(asked) > 3000
    assert sum(len(group.members) for group in groups) == len(asked)


# --- writing --------------------------------------------------------------------------------------------------------


class Desk:
    """Officers at work on versions, each step in its own transaction."""

    def __init__(self, house: House) -> None:
        self.house = house

    async def _do(self, username: str, deed: Callable[[Any, Officer, Actor], Any]) -> Any:
        officer = await self.house.officer(username)
        async with self.house.store.write() as session:
            return await deed(session, officer, Actor(self.house.station.id, officer.id))

    async def put(self, username: str, topic: str, *phrases: str, keys: set[int] | None = None) -> EntryVersion:
        async def deed(session: Any, officer: Officer, actor: Actor) -> EntryVersion:
            return await entry_versions.put_under_topic(session, officer, topic, phrases, keys or set(), actor=actor)

        version: EntryVersion = await self._do(username, deed)
        return version

    async def write(self, username: str, content: dict[str, Any], knowledge: Knowledge) -> EntryVersion:
        async def deed(session: Any, officer: Officer, actor: Actor) -> EntryVersion:
            return await entry_versions.write_entry(session, officer, content, knowledge, topic=None, actor=actor)

        version: EntryVersion = await self._do(username, deed)
        return version

    async def submit(self, username: str, version: EntryVersion, measured: dict[str, Any] | None = None) -> None:
        async with self.house.store.read() as session:
            state = await live_state(session, self.house.station.id)
        figures = {**(measured or MEASURED), "versions": list(state.versions)}

        async def deed(session: Any, officer: Officer, actor: Actor) -> None:
            row = await session.get(EntryVersion, version.id)
            await entry_versions.submit(session, row, officer, row.content, figures, actor=actor)

        await self._do(username, deed)

    async def approve(self, username: str, version: EntryVersion, seal: str | None = None) -> None:
        async def deed(session: Any, officer: Officer, actor: Actor) -> None:
            row = await session.get(EntryVersion, version.id)
            await entry_versions.approve(session, row, officer, seal=seal or entry_versions.seal_of(row), actor=actor)

        await self._do(username, deed)

    async def change(self, username: str, version: EntryVersion, action: Any, **extra: Any) -> None:
        async def deed(session: Any, officer: Officer, actor: Actor) -> None:
            row = await session.get(EntryVersion, version.id)
            await action(session, row, officer, **extra, actor=actor)

        await self._do(username, deed)

    async def make_live(self, topic: str, *phrases: str) -> EntryVersion:
        version = await self.put("zhang", topic, *phrases)
        await self.submit("zhang", version)
        await self.approve("suo", version)
        return version

    async def states(self) -> list[tuple[int, VersionState]]:
        rows = await self.house.all(select(EntryVersion).order_by(EntryVersion.id))
        return [(row.version, row.state) for row in rows]


@pytest.fixture
def desk(house: House) -> Desk:
    return Desk(house)


def test_a_version_moves_along_its_arrows_only() -> None:
    assert set(VERSION_ARROWS) == set(VersionState)
    assert {state for arrows in VERSION_ARROWS.values() for state in arrows} <= set(VersionState)
    assert VersionState.LIVE not in VERSION_ARROWS[VersionState.DRAFT], "nothing goes live unseen"
    assert not VERSION_ARROWS[VersionState.REFUSED]


async def test_a_second_group_joins_the_draft_that_is_there(desk: Desk) -> None:
    await desk.put("zhang", "idcard.lost", "证落在车上了")
    version = await desk.put("li", "idcard.lost", "证叫狗叼走了", "证落在车上了")
    assert version.content == {"phrases": ["证落在车上了", "证叫狗叼走了"]}
    assert await desk.states() == [(1, VersionState.DRAFT)]


async def test_a_draft_begins_with_what_is_live(desk: Desk) -> None:
    await desk.make_live("idcard.lost", "证落在车上了")
    version = await desk.put("li", "idcard.lost", "证叫狗叼走了")
    assert version.content == {"phrases": ["证落在车上了", "证叫狗叼走了"]}
    assert version.version == 2


async def test_sentences_in_a_draft_are_not_listed_and_come_back_when_it_is_refused(house: House, desk: Desk) -> None:
    await house.hear("麒麟证在哪里办")
    key = learning.sentence_key("麒麟证在哪里办")
    version = await desk.put("zhang", "idcard.lost", "麒麟证在哪里办", keys={key})
    assert await found(house) == []
    await desk.change("suo", version, entry_versions.refuse, why="不是身份证")
    assert len(await found(house)) == 1


async def test_what_is_disliked_after_it_went_live_is_listed_again(house: House, desk: Desk, time: FrozenClock) -> None:
    await house.hear("身份证丢了怎么办")
    await house.hear("没用")
    key = learning.sentence_key("身份证丢了怎么办")
    version = await desk.put("zhang", "idcard.expired", "身份证丢了怎么办", keys={key})
    await desk.submit("zhang", version)
    await desk.approve("suo", version)
    assert await found(house) == []
    time.forward(hours=1)
    await house.hear("身份证丢了怎么办", "o-2")
    await house.hear("没用", "o-2")
    assert len(await found(house)) == 1


@pytest.mark.parametrize(
    ("phrases", "says"),
    [
        (["啊"], "太短或太长"),
        (["长" * 201], "太短或太长"),
        (["？？？"], "太短或太长"),
        (["停水了"], "已经在主题"),  # stands under dept.utilities
    ],
)
def test_phrases_that_cannot_be_learnt_are_refused_in_words(
    knowledge: Knowledge, phrases: list[str], says: str
) -> None:
    with pytest.raises(ActionError, match=says):
        entry_versions.check_phrases(phrases, "idcard.lost", knowledge)


def test_phrases_lose_numbers_and_repetitions(knowledge: Knowledge) -> None:
    typed = ["证丢了电话13812345678联系我", "证丢了电话13987654321联系我", " "]
    assert entry_versions.check_phrases(typed, "idcard.lost", knowledge) == ["证丢了电话（号码）联系我"]


@pytest.mark.parametrize("topic", ["emergency.fire", "none.thanks", "idcard.unheard_of"])
def test_emergencies_and_small_talk_are_not_taught_here(knowledge: Knowledge, topic: str) -> None:
    with pytest.raises(ActionError, match="没有这个主题"):
        entry_versions.check_topic(topic, knowledge)


async def test_only_those_who_may_propose_do(desk: Desk) -> None:
    for username in ("fu", "shen"):
        with pytest.raises(NotAllowed):
            await desk.put(username, "idcard.lost", "证落在车上了")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"short": ""}, "简短回答"),
        ({"owner": ""}, "负责核对"),
        ({"sources": []}, "依据"),
        ({"review_by": "2026-11-01"}, "复核"),
        ({"phrases": ["夜市摆摊要登记吗"]}, "3 种"),
        ({"short": "请打13812345678"}, "公开热线"),
        ({"short": "请到{place}"}, "花括号"),
        ({"short": "长" * 700}, "600 字"),
        ({"route": "dept"}, "部门"),
    ],
)
async def test_an_own_entry_that_is_not_complete_is_refused_in_words(
    desk: Desk, knowledge: Knowledge, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(ActionError, match=says):
        await desk.write("zhang", {**NIGHT_MARKET, **change}, knowledge)


async def test_a_new_entry_gets_a_name_of_its_own(desk: Desk, knowledge: Knowledge) -> None:
    content = {name: value for name, value in NIGHT_MARKET.items() if name != "topic"}
    names = [(await desk.write("zhang", content, knowledge)).topic for _ in range(2)]
    assert names == ["own.entry1", "own.entry2"]


# --- approving ------------------------------------------------------------------------------------------------------


async def test_nobody_approves_what_he_wrote(desk: Desk) -> None:
    version = await desk.put("suo", "idcard.lost", "证落在车上了")
    await desk.submit("suo", version)
    with pytest.raises(NotAllowed, match="请别人"):
        await desk.approve("suo", version)
    await desk.approve("guan", version)
    assert await desk.states() == [(1, VersionState.LIVE)]


async def test_nobody_approves_what_he_added_to(desk: Desk) -> None:
    await desk.put("zhang", "idcard.lost", "证落在车上了")
    version = await desk.put("suo", "idcard.lost", "证叫狗叼走了")
    await desk.submit("zhang", version)
    with pytest.raises(NotAllowed, match="请别人"):
        await desk.approve("suo", version)


async def test_officers_do_not_approve(desk: Desk) -> None:
    version = await desk.put("zhang", "idcard.lost", "证落在车上了")
    await desk.submit("zhang", version)
    with pytest.raises(NotAllowed):
        await desk.approve("li", version)


async def test_what_was_not_measured_does_not_go_live(desk: Desk) -> None:
    version = await desk.put("zhang", "idcard.lost", "证落在车上了")
    with pytest.raises(Conflict):
        await desk.approve("suo", version)


async def test_what_was_changed_after_the_approver_saw_it_does_not_go_live(desk: Desk) -> None:
    version = await desk.put("zhang", "idcard.lost", "证落在车上了")
    await desk.submit("zhang", version)
    async with desk.house.store.read() as session:
        row = await session.get_one(EntryVersion, version.id)
    seen = entry_versions.seal_of(row)
    await desk.put("li", "idcard.lost", "证叫狗叼走了")
    await desk.submit("li", version)
    with pytest.raises(Conflict, match="已被修改"):
        await desk.approve("suo", version, seen)


async def test_a_measure_of_yesterdays_knowledge_is_no_measure(desk: Desk) -> None:
    version = await desk.put("zhang", "idcard.lost", "证落在车上了")
    await desk.submit("zhang", version)
    await desk.make_live("idcard.expired", "证上的日子过了")
    with pytest.raises(Conflict, match="重新测量"):
        await desk.approve("suo", version)
    await desk.submit("zhang", version)
    await desk.approve("suo", version)


async def test_the_database_itself_keeps_one_live_version_a_topic(house: House, desk: Desk) -> None:
    await desk.make_live("idcard.lost", "证落在车上了")
    with pytest.raises(IntegrityError):
        async with house.store.write() as session:
            session.add(
                EntryVersion(
                    station_id=house.station.id, topic="idcard.lost", version=9, content={}, state=VersionState.LIVE,
                    created_at=clock.now(),
                )
            )  # fmt: skip


# --- live -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_approved_it_answers_at_once_here_and_within_five_seconds_elsewhere(house: House, desk: Desk) -> None:
    async with House.opened(str(house.store.engine.url)) as elsewhere:
        for process in (house, elsewhere):
            process.runtime.knowledge = Knowledge.load()
        assert house.runtime.knowledge.match("麒麟本本整丢哒").topic != "idcard.lost"
        await desk.make_live("idcard.lost", "麒麟本本整丢哒")
        await house.runtime.refresh()
        assert await house.hear("麒麟本本整丢哒") is not None
        assert (await house.heard())[0].topic == "idcard.lost"
        (job,) = [job for job in jobs.JOBS if job.work is jobs.take_over_knowledge]
        assert job.every == timedelta(seconds=5)
        await job.work(_replaced(elsewhere.desk, refresh=elsewhere.runtime.refresh))
        assert elsewhere.runtime.knowledge.match("麒麟本本整丢哒").topic == "idcard.lost"
        assert await elsewhere.runtime.refresh() is False, "nothing is loaded twice"


def _replaced(desk: jobs.Desk, **changes: Any) -> jobs.Desk:
    values = {name: getattr(desk, name) for name in desk.__dataclass_fields__}
    return jobs.Desk(**{**values, **changes})


async def test_a_restart_begins_with_what_is_live(house: House, desk: Desk, knowledge: Knowledge) -> None:
    await desk.make_live("idcard.lost", "麒麟本本整丢哒")
    again = Runtime(house.runtime.config, house.store, house.station, knowledge)
    await again.refresh()
    assert again.knowledge.match("麒麟本本整丢哒").topic == "idcard.lost"


async def test_an_addition_adds_to_the_shipped_entry(knowledge: Knowledge) -> None:
    own = Knowledge.load(own=[{"topic": "idcard.lost", "phrases": ["麒麟本本整丢哒"]}])
    before, after = knowledge.entries["idcard.lost"], own.entries["idcard.lost"]
    assert set(after.all_phrases()) == {*before.all_phrases(), "麒麟本本整丢哒"}
    assert own.answer("idcard.lost") == knowledge.answer("idcard.lost")
    assert own.shipped["idcard.lost"] == before


async def test_a_field_of_the_station_lies_over_the_shipped_one(knowledge: Knowledge) -> None:
    own = Knowledge.load(own=[{"topic": "idcard.lost", "fee": "本月免费"}])
    assert "本月免费" in own.answer("idcard.lost", facet="fee")
    assert own.entries["idcard.lost"].short == knowledge.entries["idcard.lost"].short


async def test_an_entry_that_can_no_longer_be_read_is_left_out_and_the_rest_serves() -> None:
    own = Knowledge.load(own=[{"topic": "own.gone", "phrases": ["随便"]}, {"topic": "idcard.lost", "nonsense": "1"}])
    assert len(own.refused) == 2
    assert own.entries == own.shipped


async def test_rolled_back_with_one_click_the_version_before_answers(
    house: House, desk: Desk, knowledge: Knowledge
) -> None:
    house.runtime.knowledge = knowledge
    first = await desk.make_live("idcard.lost", "麒麟本本整丢哒")
    second = await desk.make_live("idcard.lost", "青龙卡卡搞脱哒")
    await desk.change("suo", second, entry_versions.roll_back)
    assert await desk.states() == [(1, VersionState.LIVE), (2, VersionState.RETIRED)]
    await house.runtime.refresh()
    assert house.runtime.knowledge.match("麒麟本本整丢哒").topic == "idcard.lost"
    assert house.runtime.knowledge.match("青龙卡卡搞脱哒").topic != "idcard.lost"
    await desk.change("suo", first, entry_versions.roll_back)
    assert [state for _, state in await desk.states()] == [VersionState.RETIRED] * 2
    await house.runtime.refresh()
    assert house.runtime.knowledge.entries == house.runtime.knowledge.shipped
    await desk.change("suo", second, entry_versions.restore)
    assert await desk.states() == [(1, VersionState.RETIRED), (2, VersionState.LIVE)]


async def test_each_step_stands_in_the_audit_log(house: House, desk: Desk) -> None:
    version = await desk.make_live("idcard.lost", "麒麟本本整丢哒")
    await desk.change("suo", version, entry_versions.roll_back)
    subject = f"entry_version:{version.id}"
    events = await house.all(select(AuditEvent).where(AuditEvent.subject == subject).order_by(AuditEvent.seq))
    assert [event.action.removeprefix("knowledge.") for event in events] == [
        "drafted",
        "submitted",
        "approved",
        "rolled_back",
    ]
    assert "麒麟" not in repr([event.details for event in events]), "the log holds no resident's words"
    async with house.store.read() as session:
        assert not (await check_chain(session, house.station.id)).broken


async def test_residents_words_are_encrypted_in_versions(house: House, desk: Desk) -> None:
    await desk.make_live("idcard.lost", "麒麟本本整丢哒")
    (raw,) = await house.all(select(type_coerce(EntryVersion.content, LargeBinary)))
    assert isinstance(raw, bytes)
    assert "麒麟".encode() not in raw
    assert rb"\u9e92" not in raw


# --- measuring ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_change_shows_exactly_what_gets_worse(knowledge: Knowledge) -> None:
    taken = "身份证丢了怎么补办呀"
    labelled = [Question("身份证丢了怎么补办", "idcard.lost"), Question("楼上太吵怎么办", "dispute.noise")]
    change = {"dispute.noise": {"topic": "dispute.noise", "phrases": [taken]}}
    measured = measuring.measure(knowledge, {}, change, labelled, [])
    worse = [(row["text"], row["label"], row["after"][1]) for row in measured["worse"]]
    assert ("身份证丢了怎么补办", "idcard.lost", "dispute.noise") in worse
    figures = {name: (count, before, after) for name, count, before, after in measured["figures"]}
    assert figures["labelled"] == (2, 2, 1)
    assert figures["new"] == (1, 0, 1)
    assert figures["shipped"][0] > 1500
    assert measured["worse_count"] == len(measured["worse"]), "nothing is hidden"


@pytest.mark.slow
def test_taught_half_of_the_new_phrases_the_other_half_is_known(knowledge: Knowledge) -> None:
    phrases = ["麒麟本本整丢哒", "麒麟本本落车上哒", "麒麟本本搞脱哒", "麒麟本本掉河里哒"]
    labelled = [Question("楼上太吵怎么办", "dispute.noise"), Question("身份证丢了怎么补办", "idcard.lost")]
    change = {"idcard.lost": {"topic": "idcard.lost", "phrases": phrases}}
    measured = measuring.measure(knowledge, {}, change, labelled, [])
    known, of = measured["held"]
    assert of == 2
    assert known >= 1
    assert measured["figures"][0] == ["labelled", 2, 2, 2]
    _, asked, before, after = measured["figures"][2]
    assert after >= before - asked // 500, "other topics keep their own questions"


@pytest.mark.slow
def test_live_phrases_are_asked_again(knowledge: Knowledge) -> None:
    own = {"idcard.lost": {"phrases": ["麒麟本本整丢哒"]}}
    before = Knowledge.load(own=[{**content, "topic": topic} for topic, content in own.items()])
    change = {"dispute.noise": {"topic": "dispute.noise", "phrases": ["麒麟本本整丢哒呀"]}}
    measured = measuring.measure(before, own, change, [], [1])
    assert ["own", 1, 1, 1] in measured["figures"] or measured["worse"]


def test_a_file_of_labelled_questions_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ActionError, match=r"knowledge\.questions"):
        measuring.labelled_questions(tmp_path / "missing.tsv")


# --- the station's own texts ----------------------------------------------------------------------------------------


async def test_settings_are_in_the_next_answer_and_in_the_log(house: House) -> None:
    async with house.store.write() as session:
        count = await stations.set_settings(
            session,
            house.station.id,
            {"station.address": "枫林路 9 号", "station.phone": ""},
            {"station.address", "station.phone"},
            actor=Actor(house.station.id),
        )
    assert count == 2
    await house.runtime.refresh()
    answer = await house.hear("身份证丢了怎么办")
    assert answer is not None
    assert "枫林路 9 号" in answer
    (event,) = await house.all(select(AuditEvent).where(AuditEvent.action == "station.settings"))
    assert event.details["station.address"] == ["", "枫林路 9 号"]


@pytest.mark.parametrize("typed", [{"local.nowhere": "x"}, {"station.phone": "9" * 201}, {"station.phone": "{x}"}])
async def test_a_setting_that_no_answer_can_hold_is_refused(house: House, typed: dict[str, str]) -> None:
    with pytest.raises(ActionError):
        async with house.store.write() as session:
            await stations.set_settings(
                session, house.station.id, typed, {"station.phone"}, actor=Actor(house.station.id)
            )


async def test_live_content_is_the_stations_own(house: House, desk: Desk, furnished_url: str) -> None:
    await desk.make_live("idcard.lost", "麒麟本本整丢哒")
    async with House.opened(furnished_url, name="柳岸派出所") as other, other.store.read() as session:
        assert await live_content(session, other.station.id) == {}
    assert await house.count(StoredMessage) == 0
