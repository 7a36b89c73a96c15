"""The ledger: what each address lets us send now, kept as residents act, as we send and as the platform refuses."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone

from sqlalchemy import ColumnElement, and_, bindparam, case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.reach import Grant, Reach, Rules, Window, reach_of
from bot.store.models import Base, Delivery, ResidentAddress

REFUSED_FOR = timedelta(days=30)  # he set it so; only he can change it, and his next message shows that he did
LIMITED_FOR = timedelta(days=7)  # his account was frozen; the platform may have thawed it
MASS_PER_MONTH = 4  # what the platform lets through to each resident; the fifth would be dropped in silence
_CHINA = timezone(timedelta(hours=8))


def _window_after_grant() -> Mapping[str, object]:
    """The rule of `Window.after`."""
    row = _Addresses.c
    now, until = (bindparam(name, type_=row.window_until.type) for name in ("now", "until"))
    count = bindparam("count", type_=row.window_left.type)
    gives_more = or_(row.window_left > count, and_(row.window_left == count, row.window_until >= until))
    stays = and_(row.window_until > now, row.window_left >= 1, gives_more)
    return {
        "window_until": case((stays, row.window_until), else_=until),
        "window_left": case((stays, row.window_left), else_=count),
    }


# Made once: for a few rows, to put a statement together costs more than to run it.
_Addresses = Base.metadata.tables["resident_addresses"]
_HEARD = (
    update(_Addresses)
    .where(_Addresses.c.id.in_(bindparam("ids", expanding=True)))
    .values(last_inbound_at=bindparam("now"), refused_until=None, refused_why=None, notified_at=None)
)
_GRANTED = _HEARD.values(**_window_after_grant())


def reach_at(address: ResidentAddress, rules: Rules | None, now: datetime) -> Reach:
    """When a message written now reaches this address."""
    return reach_of(
        rules,
        Window(address.window_until, address.window_left),
        following=address.following,
        refused=refusal_of(address.refused_until, address.refused_why, now),
        now=now,
    )


def refusal_of(until: datetime | None, why: str | None, now: datetime) -> str:
    """Why the platform gives nothing to an address; "" when it may be asked."""
    return (why or "") if until is not None and until > now else ""


async def heard(session: AsyncSession, acts: Mapping[int, Grant | None], now: datetime) -> None:
    """The residents at these addresses did something, which grants what it grants: one statement for all alike.

    In SQL, because a message may leave to the same address at this very moment. Whoever acts can be reached again,
    whatever the platform said of him before.
    """
    alike: dict[Grant | None, list[int]] = {}
    for address_id, grant in acts.items():
        alike.setdefault(grant, []).append(address_id)
    for grant, address_ids in sorted(alike.items(), key=lambda item: repr(item[0])):
        values: dict[str, object] = {"ids": address_ids, "now": now}
        if grant is None:
            await session.execute(_HEARD, values)
        else:
            await session.execute(_GRANTED, {**values, "until": now + grant.lasting, "count": grant.count})


async def spent(session: AsyncSession, costs: Mapping[int, int]) -> None:
    """So many messages went to these addresses."""
    for cost in sorted(set(costs.values())):
        if cost > 0:
            await session.execute(
                update(ResidentAddress)
                .where(ResidentAddress.id.in_([key for key, value in costs.items() if value == cost]))
                .values(
                    window_left=case((ResidentAddress.window_left > cost, ResidentAddress.window_left - cost), else_=0)
                )
                .execution_options(synchronize_session=False)
            )


async def close_window(session: AsyncSession, address_id: int, *, used: bool, now: datetime) -> None:
    """The platform says that the window is over, or (`used`) that nothing is left in it: it knows better than we."""
    values = {"window_left": 0} if used else {"window_until": now, "window_left": 0}
    await _set(session, [address_id], values)


async def refuse(session: AsyncSession, address_id: int, why: str, until: datetime) -> None:
    """The platform gives nothing to this address until then, or until he writes."""
    await _set(session, [address_id], {"refused_until": until, "refused_why": why[:200]})


async def notified(session: AsyncSession, address_ids: Sequence[int], now: datetime) -> None:
    """They are told that a message waits; not again before they have written."""
    await _set(session, address_ids, {"notified_at": now})


async def _set(session: AsyncSession, address_ids: Sequence[int], values: Mapping[str, object]) -> None:
    await session.execute(
        update(ResidentAddress)
        .where(ResidentAddress.id.in_(address_ids))
        .values(**values)
        .execution_options(synchronize_session=False)
    )


# --- mass messages, which the platform counts by the month ----------------------------------------------------------


def china_month(now: datetime) -> str:
    """The month in which the platform counts mass messages; it begins at midnight in China, wherever we run."""
    return f"{now.astimezone(_CHINA):%Y-%m}"


def had_enough(now: datetime) -> ColumnElement[bool]:
    """Addresses that have had as many mass messages this month as the platform lets through."""
    address = ResidentAddress
    return address.mass_month.is_not_distinct_from(china_month(now)) & (address.mass_count >= MASS_PER_MONTH)


def _recipients(job_id: int) -> ColumnElement[bool]:
    return ResidentAddress.id.in_(select(Delivery.address_id).where(Delivery.mass_job_id == job_id))


async def lock_recipients(session: AsyncSession, job_id: int) -> None:
    """In one order for everybody: residents who write meanwhile change these rows too, and nobody waits in a circle."""
    address = ResidentAddress
    await session.execute(select(address.id).where(_recipients(job_id)).order_by(address.id).with_for_update())


async def count_mass(session: AsyncSession, job_id: int, change: int, month: str) -> None:
    """Count a mass message of that month at each recipient's address, before it is sent: two warnings at once must not
    both be the fourth. What was not sent after all is given back."""
    address = ResidentAddress
    await lock_recipients(session, job_id)
    this_month = address.mass_month == month
    before = case((this_month, address.mass_count), else_=0)
    await session.execute(
        update(address)
        .where(_recipients(job_id), *([] if change > 0 else [this_month, address.mass_count > 0]))
        .values(mass_month=month, mass_count=before + change)
        .execution_options(synchronize_session=False)
    )
