"""The document says what the API does: it lists the table, holds together, and the answers fit it."""

from collections.abc import Iterator
from typing import Any

from bot.api.problems import STATUS, Slug
from bot.api.routes import ROUTES
from bot.api.texts import DETAILS, TITLES
from bot.security.permissions import Permission

from .conftest import ROOT, House
from .test_routes import a_row, given

_OPERATION_WORDS = {
    "operationId", "tags", "summary", "description", "responses", "security", "parameters", "requestBody",
    "x-permissions",
}  # fmt: skip


def everything(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from everything(item)


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path.removeprefix(ROOT)): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


async def test_anybody_may_read_it_and_it_lists_exactly_the_table(house: House) -> None:
    heard = await house.nobody.get("/openapi.json")
    assert (heard.status, heard.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert heard.body["openapi"] == "3.1.0"
    assert all(path.startswith(ROOT) for path in heard.body["paths"])
    listed = operations(heard.body)
    assert sorted(listed) == sorted((route.method, route.path) for route in ROUTES)
    for route in ROUTES:
        operation = listed[route.method, route.path]
        assert operation["summary"] == route.summary
        assert operation.get("x-permissions", []) == list(route.permissions)
        assert str(int(route.status)) in operation["responses"]


async def test_it_holds_together(house: House) -> None:
    document = await house.nobody.read("/openapi.json")
    schemas = document["components"]["schemas"]
    named = {node["$ref"] for node in everything(document) if isinstance(node.get("$ref"), str)}
    assert {name.removeprefix("#/components/schemas/") for name in named} <= set(schemas)
    assert not any("$defs" in node for node in everything(document))
    listed = operations(document)
    assert len({operation["operationId"] for operation in listed.values()}) == len(listed)
    tags = {tag["name"] for tag in document["tags"]}
    for (method, path), operation in listed.items():
        assert set(operation) <= _OPERATION_WORDS
        assert set(operation["tags"]) <= tags
        assert ("requestBody" not in operation) or method != "GET"
        parameters = operation.get("parameters", [])
        assert len({(each["in"], each["name"]) for each in parameters}) == len(parameters)
        in_path = {each["name"] for each in parameters if each["in"] == "path" and each["required"]}
        assert in_path == ({"id"} if "{id}" in path else set())
        for status, response in operation["responses"].items():
            assert 200 <= int(status) < 600
            assert response["description"]
            said = ["application/json"] if status < "300" else ["application/problem+json"]
            assert list(response.get("content", {})) == ([] if status == "204" else said)
    assert {*document["components"]["securitySchemes"]} == {"bearer"}
    permissions = {word for operation in listed.values() for word in operation.get("x-permissions", [])}
    assert permissions <= {permission.value for permission in Permission}


async def test_personal_data_never_stands_in_a_shape_unmasked(house: House) -> None:
    schemas = (await house.nobody.read("/openapi.json"))["components"]["schemas"]
    for name, schema in schemas.items():
        for field in ("phone", "home"):
            if field in schema.get("properties", {}):
                assert "已脱敏" in schema["properties"][field]["description"], (name, field)
    assert not {"birth_year", "address", "openid"} & {
        field for each in schemas.values() for field in each.get("properties", {})
    }


async def test_answers_fit_the_document(house: House) -> None:
    """Each answer has exactly the fields its schema lists, and a status the document knows."""
    document = await house.nobody.read("/openapi.json")
    callers = [await house.caller(username) for username in ("chen", "suo", "shen", "guan")]
    unchecked = set()
    for route in ROUTES:
        if route.path == "/sessions/current":
            continue  # ends the tokens; has no content
        responses, fitting = operations(document)[route.method, route.path]["responses"], 0
        for caller in callers:
            if route.path.startswith("/tickets/{id}/"):
                await callers[0].post(f"/tickets/{house.ticket}/take")
            heard = await caller.call(route.method, await a_row(route, house), **given(route))
            assert str(heard.status) in responses, (route, heard)
            if heard.status in (200, 201):
                name = responses[str(heard.status)]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
                assert set(heard.body) == set(document["components"]["schemas"][name]["properties"])
                route.response.model_validate(heard.body)
                fitting += 1
        if not fitting:
            unchecked.add(route.path)
    # A wrong password and drafts that were never submitted; the stories have the right ones.
    assert unchecked == {"/sessions", "/broadcasts/{id}/approve", "/broadcasts/{id}/send-back"}


def test_every_slug_has_status_title_and_sentence() -> None:
    assert set(Slug) == set(STATUS) == set(TITLES) == set(DETAILS)
    assert all(DETAILS[slug].endswith("。") for slug in Slug)
