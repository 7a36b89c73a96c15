"""The OpenAPI document, made from the table of routes and the shapes in it."""

from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from bot.api.guard import BODY_LIMIT_BYTES, AnyRoute, Open
from bot.api.problems import CONTENT_TYPE, STATUS, Problem, Slug
from bot.api.shapes import Nothing
from bot.api.texts import TITLES

_REF = "#/components/schemas/{model}"
_TAGS = {
    "sessions": "登录",
    "me": "我的账号",
    "tickets": "工单",
    "broadcasts": "提醒",
    "search": "查阅",
    "communities": "社区",
}
_LARGEST_ID_DIGITS = r"^\d{1,19}$"

Json = dict[str, Any]


def document(routes: Sequence[AnyRoute], root: str) -> Json:
    """OpenAPI 3.1, whose schemas are the JSON Schema pydantic speaks; lists exactly `routes`."""
    references, definitions = models_json_schema(list(_shapes(routes)), ref_template=_REF)
    paths: dict[str, Json] = {}
    for route in routes:
        operation = _operation(route, references, definitions["$defs"])
        paths.setdefault(root + route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "邻家警长接口",
            "version": "1",
            "description": (
                "与网页控制台相同的操作。先用 POST /api/v1/sessions 登录，再把令牌放入 Authorization 头。"
                f"请求内容不超过 {BODY_LIMIT_BYTES} 字节；时间须带时区；列表按页读取；居民个人信息均已脱敏。"
                "出错时返回 application/problem+json，程序请按 type 判断。"
            ),
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": words} for name, words in _TAGS.items()],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _shapes(routes: Iterable[AnyRoute]) -> Iterator[tuple[type[BaseModel], JsonSchemaMode]]:
    yield Problem, "serialization"
    for route in routes:
        yield route.request, "validation"
        yield route.response, "serialization"


def _operation(route: AnyRoute, references: Any, definitions: Json) -> Json:
    noun = route.path.split("/")[1]
    operation: Json = {
        "operationId": f"{noun}_{route.handler.__name__}",
        "tags": [noun],
        "summary": route.summary,
        "responses": _responses(route, references),
    }
    if route.needs is Open.PUBLIC:
        operation["security"] = []
    else:
        operation["description"] = f"需要权限：{' 或 '.join(route.permissions)}"
        operation["x-permissions"] = list(route.permissions)
    parameters = [*_path_parameters(route), *(_query_parameters(route, references, definitions) if route.reads else [])]
    if parameters:
        operation["parameters"] = parameters
    if not route.reads and route.request is not Nothing:
        content = {"application/json": {"schema": references[(route.request, "validation")]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _path_parameters(route: AnyRoute) -> list[Json]:
    if "{id}" not in route.path:
        return []
    schema = {"type": "string", "pattern": _LARGEST_ID_DIGITS}
    return [{"name": "id", "in": "path", "required": True, "schema": schema}]


def _query_parameters(route: AnyRoute, references: Any, definitions: Json) -> list[Json]:
    """A query is described field by field; its model is a schema like the others."""
    name = references[(route.request, "validation")]["$ref"].rsplit("/", 1)[1]
    shape = definitions[name]
    required = shape.get("required", [])
    return [
        {"name": field, "in": "query", "required": field in required, "schema": schema}
        for field, schema in shape.get("properties", {}).items()
    ]


def _responses(route: AnyRoute, references: Any) -> Json:
    done: Json = {"description": "完成"}
    if route.status is not HTTPStatus.NO_CONTENT:
        done["content"] = {"application/json": {"schema": references[(route.response, "serialization")]}}
    responses = {str(int(route.status)): done}
    for slug in _slugs(route):
        status = str(int(STATUS[slug]))
        words = f"{slug}：{TITLES[slug]}"
        if status in responses:
            responses[status]["description"] += f"；{words}"
        else:
            schema = references[(Problem, "serialization")]
            responses[status] = {"description": words, "content": {CONTENT_TYPE: {"schema": schema}}}
    return responses


def _slugs(route: AnyRoute) -> Iterator[Slug]:
    """The refusals a caller of this route must expect."""
    if route.needs is Open.PUBLIC:
        yield from (Slug.WRONG_LOGIN, Slug.CODE_NEEDED, Slug.WRONG_CODE, Slug.SET_UP_NEEDED, Slug.TOO_MANY)
    else:
        yield from (Slug.LOGIN_NEEDED, Slug.NO_PERMISSION)
    if "{id}" in route.path:
        yield Slug.NOT_FOUND
    if not route.reads:
        yield from (Slug.NOT_JSON, Slug.TOO_LARGE, Slug.WRONG_TYPE)
    yield Slug.INVALID
    if not route.reads and route.needs is not Open.PUBLIC:
        yield from (Slug.REFUSED, Slug.NOT_ALLOWED, Slug.CONFLICT)
    yield Slug.FAULT
