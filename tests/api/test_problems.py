"""Requests nobody should send: each ends as a problem with a slug, a sentence and no trace of what was sent."""

import gzip
import json
from typing import Any

import pytest

from bot.api import me
from bot.api.guard import BODY_LIMIT_BYTES, MOST_FIELD_ERRORS

from .conftest import House

JSON = {"Content-Type": "application/json"}


WRONG_BODIES = (
    (b"", "invalid"),
    (b"{}", "invalid"),
    (b"[]", "invalid"),
    (b"null", "invalid"),
    (b'"text"', "invalid"),
    (b'{"text": 5}', "invalid"),
    (b'{"text": null}', "invalid"),
    (b'{"text": "a", "text2": "b"}', "invalid"),
    (b'{"text": "a\\u0000b"}', "invalid"),
    (b'{"text": "\\ud800"}', "not-json"),
    (b'{"text": "a"', "not-json"),
    (b"{'text': 'a'}", "not-json"),
    (b"\xff\xfe{}", "not-json"),
    (b"[" * 60_000, "not-json"),
    (b'{"text": ' + b"1" * 60_000 + b"}", "not-json"),
    (b" " * (BODY_LIMIT_BYTES + 1), "too-large"),
)


async def test_a_body_that_is_wrong(house: House) -> None:
    chen = await house.caller("chen")
    for body, slug in WRONG_BODIES:
        heard = await chen.call("POST", f"/tickets/{house.ticket}/note", data=body, headers=JSON)
        assert heard.slug == slug, body[:30]
        assert heard.status == {"invalid": 422, "not-json": 400, "too-large": 413}[slug]
    assert await house.audit("ticket.noted") == []


async def test_a_body_of_another_type_is_not_read_as_json(house: House) -> None:
    chen, path = await house.caller("chen"), f"/tickets/{house.ticket}/note"
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
        heard = await chen.call("POST", path, data=b'{"text": "a"}', headers=headers)
        assert (heard.status, heard.slug) == (415, "wrong-content-type")


async def test_a_packed_body_counts_as_what_it_unpacks_to(house: House) -> None:
    chen, path, packed = (
        await house.caller("chen"),
        f"/tickets/{house.ticket}/note",
        JSON | {"Content-Encoding": "gzip"},
    )
    bomb = gzip.compress(b'{"text": "' + b"a" * 10_000_000)
    assert len(bomb) < BODY_LIMIT_BYTES
    assert (await chen.call("POST", path, data=bomb, headers=packed)).slug == "too-large"
    assert (await chen.call("POST", path, data=b"no gzip at all", headers=packed)).slug == "not-json"
    small = gzip.compress(json.dumps({"text": "已核对。"}).encode())
    assert (await chen.call("POST", path, data=small, headers=packed)).status == 201


async def test_a_body_without_a_length_is_limited_too(house: House) -> None:
    async def endless() -> Any:
        for _ in range(200):
            yield b" " * 1024

    chen = await house.caller("chen")
    heard = await chen.call("POST", f"/tickets/{house.ticket}/note", data=endless(), headers=JSON)
    assert heard.slug == "too-large"


async def test_many_wrong_fields_are_named_up_to_a_limit(house: House) -> None:
    chen = await house.caller("chen")
    body = {f"field{number}" + "x" * 200: number for number in range(100)} | {"outcome": "x"}
    heard = await chen.post(f"/tickets/{house.ticket}/close", body)
    assert len(heard.fields) == MOST_FIELD_ERRORS
    assert max(len(field) for field in heard.fields) <= 60


async def test_what_was_sent_is_not_said_back(house: House) -> None:
    heard = await house.nobody.post("/sessions", {"username": "chen", "password": ["my secret"], "code": 123456})
    assert heard.fields == ["password", "code"]
    assert "my secret" not in str(heard.body)
    assert "123456" not in str(heard.body)


async def test_addresses_that_are_not_in_the_table(house: House) -> None:
    chen = await house.caller("chen")
    for path in ("/nothing", "/tickets/7/explode", "/", "/tickets/", f"/tickets/{house.ticket}/"):
        assert (await chen.get(path)).slug == "not-found", path
    heard = await chen.call("PUT", "/tickets")
    assert (heard.status, heard.slug, heard.headers["Allow"]) == (405, "wrong-method", "GET")


async def test_every_answer_carries_the_careful_headers(house: House) -> None:
    for path in ("/openapi.json", "/me", "/nothing"):
        headers = (await house.nobody.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in headers["Content-Security-Policy"]


async def test_a_fault_of_ours_is_a_problem_without_details(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("the words of a resident")

    monkeypatch.setattr(me, "own_communities", broken)
    heard = await (await house.caller("chen")).get("/me")
    assert (heard.status, heard.slug) == (500, "fault")
    assert "resident" not in str(heard.body)
    assert [record.getMessage() for record in caplog.records if record.name == "bot.api.guard"] == [
        "an API call failed"
    ]
