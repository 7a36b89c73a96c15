"""Shapes that several nouns of the API share: strict requests, pages, people, texts, moments."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from bot.api.texts import FAR_MOMENT, NO_NUL
from bot.security.masking import mask_address, mask_name, mask_phone
from bot.store.models import Community, Officer, Resident

_LAST_PAGE = 1000  # deeper than anybody reads; a filter finds it sooner
_YEARS = range(2000, 2100)


# --- what comes in --------------------------------------------------------------------------------------------------


class Request(BaseModel):
    """A body or a query: nothing but what is described, and nothing bent into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Nothing(Request):
    """No body; an empty object will do."""


class Paged(Request):
    page: int = Field(1, ge=1, le=_LAST_PAGE, description="第几页，从 1 开始")


def _plain(text: str) -> str:
    if "\x00" in text:  # PostgreSQL keeps none
        raise PydanticCustomError("nul", NO_NUL)
    return text.replace("\r\n", "\n")


def _near(moment: datetime) -> datetime:
    """At the ends of the calendar a change of time zone fails."""
    if moment.year not in _YEARS:
        raise PydanticCustomError("far", FAR_MOMENT)
    return moment.astimezone(UTC)


Text = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_plain)]
Why = Annotated[Text, Field(min_length=2, max_length=200, description="原因，记入审计日志")]
Moment = Annotated[AwareDatetime, AfterValidator(_near)]


# --- what goes out --------------------------------------------------------------------------------------------------


class Answer(BaseModel):
    """Something the API says."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Page(Answer):
    """The frame of every list."""

    page: int
    more: bool = Field(description="后面还有")


class Person(Answer):
    """An officer of the station."""

    id: int
    name: str

    @classmethod
    def of(cls, officer: Officer) -> "Person":
        return cls(id=officer.id, name=officer.name)


class Place(Answer):
    """A community."""

    id: int
    name: str

    @classmethod
    def of(cls, community: Community | None) -> "Place | None":
        return None if community is None else cls(id=community.id, name=community.name)


class MaskedResident(Answer):
    """A resident as far as anybody sees him who did not ask, with a reason, for more."""

    id: int
    name: str = Field(description="已脱敏")

    @classmethod
    def of(cls, resident: Resident) -> "MaskedResident":
        return cls(id=resident.id, name=mask_name(resident.name))


class MaskedContact(MaskedResident):
    phone: str = Field(description="已脱敏")
    home: str = Field(description="已脱敏")
    language: str

    @classmethod
    def of(cls, resident: Resident) -> "MaskedContact":
        return cls(
            id=resident.id,
            name=mask_name(resident.name),
            phone=mask_phone(resident.phone),
            home=mask_address(resident.home),
            language=resident.language,
        )
