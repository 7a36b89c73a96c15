"""Refusals as RFC 9457 problem details: a stable slug as `type`, a sentence for the person as `detail`."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from pydantic import BaseModel, Field

CONTENT_TYPE = "application/problem+json"


class Slug(StrEnum):
    """Which refusal it is, for programs. Words may change, slugs do not."""

    NOT_JSON = "not-json"
    LOGIN_NEEDED = "login-needed"
    WRONG_LOGIN = "wrong-login"
    CODE_NEEDED = "code-needed"
    WRONG_CODE = "wrong-code"
    SET_UP_NEEDED = "second-factor-not-set-up"
    PASSWORD_GIVEN = "password-to-be-changed"  # noqa: S105 a slug
    NO_PERMISSION = "no-permission"  # the role never may
    NOT_ALLOWED = "not-allowed"  # this person may not do this to this row
    NOT_FOUND = "not-found"
    WRONG_METHOD = "wrong-method"
    CONFLICT = "conflict"
    TOO_LARGE = "too-large"
    WRONG_TYPE = "wrong-content-type"
    INVALID = "invalid"  # a field; `errors` names it
    REFUSED = "refused"  # each field is right, the wish is not
    TOO_MANY = "too-many-attempts"
    FAULT = "fault"


STATUS: Final = {
    Slug.NOT_JSON: HTTPStatus.BAD_REQUEST,
    Slug.LOGIN_NEEDED: HTTPStatus.UNAUTHORIZED,
    Slug.WRONG_LOGIN: HTTPStatus.UNAUTHORIZED,
    Slug.CODE_NEEDED: HTTPStatus.UNAUTHORIZED,
    Slug.WRONG_CODE: HTTPStatus.UNAUTHORIZED,
    Slug.SET_UP_NEEDED: HTTPStatus.FORBIDDEN,
    Slug.PASSWORD_GIVEN: HTTPStatus.FORBIDDEN,
    Slug.NO_PERMISSION: HTTPStatus.FORBIDDEN,
    Slug.NOT_ALLOWED: HTTPStatus.FORBIDDEN,
    Slug.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Slug.WRONG_METHOD: HTTPStatus.METHOD_NOT_ALLOWED,
    Slug.CONFLICT: HTTPStatus.CONFLICT,
    Slug.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Slug.WRONG_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Slug.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    Slug.REFUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Slug.TOO_MANY: HTTPStatus.TOO_MANY_REQUESTS,
    Slug.FAULT: HTTPStatus.INTERNAL_SERVER_ERROR,
}


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="字段，嵌套时用点连接，例如 audience.age_from；空表示整个内容")
    detail: str


class Problem(BaseModel):
    """RFC 9457; `type` is one of the slugs."""

    type: Slug
    title: str
    status: int
    detail: str
    errors: tuple[FieldError, ...] = ()


class Refused(Exception):
    """Ends a request with a problem; without `detail` the slug's own sentence is said."""

    def __init__(
        self,
        slug: Slug,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(slug)
        self.slug, self.detail, self.errors, self.headers = slug, detail, tuple(errors), headers or {}
