"""The arrows of every model: what may follow what, in the tables and in the actions that use them."""

import itertools
from enum import StrEnum
from typing import Any

import pytest

from bot.actions import broadcasts, tickets
from bot.actions.errors import Conflict
from bot.store.models import (
    BROADCAST_ARROWS,
    DELIVERY_ARROWS,
    MASS_JOB_ARROWS,
    NOTICE_ARROWS,
    REFERRAL_ARROWS,
    TASK_ARROWS,
    TICKET_ARROWS,
    Broadcast,
    BroadcastState,
    DeliveryState,
    MassJobState,
    NoticeState,
    ReferralState,
    TaskState,
    Ticket,
    TicketState,
)

# Written out a second time on purpose: a new arrow is a decision, and this is where it is taken.
ALLOWED: dict[type[StrEnum], set[str]] = {
    TicketState: {
        "open assigned", "open closed", "assigned open", "assigned waiting", "assigned closed",
        "waiting assigned", "waiting open", "waiting closed",
    },
    BroadcastState: {
        "draft submitted", "draft cancelled", "submitted approved", "submitted draft", "submitted cancelled",
        "approved sending", "approved draft", "approved expired", "approved cancelled",
        "sending done", "sending cancelled", "sending expired",
    },
    DeliveryState: {
        "queued sending", "queued skipped", "queued failed", "queued sent",
        "sending sent", "sending queued", "sending failed", "sending skipped", "sent delivered", "sent failed",
    },
    ReferralState: {"open answered", "open closed", "answered closed"},
    MassJobState: {
        "queued sending", "queued failed", "sending submitted", "sending queued", "sending failed",
        "submitted done", "submitted failed", "done failed",
    },
    NoticeState: {"queued sending", "queued over", "sending queued", "sending sent", "sending failed", "sending over"},
    TaskState: {
        "new submitting", "new cancelled", "submitting new", "submitting seeking", "submitting waiting",
        "submitting failed", "seeking new", "seeking waiting", "seeking failed", "waiting done", "waiting cancelled",
    },
}  # fmt: skip
ARROWS: dict[type[StrEnum], Any] = {
    TicketState: TICKET_ARROWS,
    NoticeState: NOTICE_ARROWS,
    TaskState: TASK_ARROWS,
    BroadcastState: BROADCAST_ARROWS,
    DeliveryState: DELIVERY_ARROWS,
    ReferralState: REFERRAL_ARROWS,
    MassJobState: MASS_JOB_ARROWS,
}
PAIRS = [(kind, *pair) for kind in ARROWS for pair in itertools.product(kind, repeat=2)]


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    PAIRS,
    ids=[" ".join((kind.__name__, *pair)) for kind in ARROWS for pair in itertools.product(kind, repeat=2)],
)
def test_the_arrow(kind: type[StrEnum], before: StrEnum, after: StrEnum) -> None:
    assert (after in ARROWS[kind][before]) == (f"{before} {after}" in ALLOWED[kind])


@pytest.mark.parametrize("kind", ARROWS, ids=lambda kind: kind.__name__)
def test_every_state_has_its_row_and_can_be_reached_from_the_first(kind: type[StrEnum]) -> None:
    arrows = ARROWS[kind]
    assert set(arrows) == set(kind)
    first = next(iter(kind))
    reached, waiting = {first}, [first]
    while waiting:
        new = arrows[waiting.pop()] - reached
        reached |= new
        waiting += new
    assert reached == set(kind)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(TicketState, repeat=2)))
def test_a_ticket_moves_by_its_arrows_only(before: TicketState, after: TicketState) -> None:
    ticket = Ticket(number="20261123-0001", state=before)
    if after in TICKET_ARROWS[before]:
        tickets._move(ticket, after)
        assert ticket.state is after
    else:
        with pytest.raises(Conflict, match="请刷新后再试"):
            tickets._move(ticket, after)
        assert ticket.state is before


@pytest.mark.parametrize(("before", "after"), list(itertools.product(BroadcastState, repeat=2)))
def test_a_warning_moves_by_its_arrows_only(before: BroadcastState, after: BroadcastState) -> None:
    broadcast = Broadcast(state=before)
    if after in BROADCAST_ARROWS[before]:
        broadcasts._move(broadcast, after)
        assert broadcast.state is after
    else:
        with pytest.raises(Conflict, match="请刷新后再试"):
            broadcasts._move(broadcast, after)
        assert broadcast.state is before
