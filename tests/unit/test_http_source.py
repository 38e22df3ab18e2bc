"""The transport that all providers share, against a real server on this machine: retries, pauses, paging, secrets."""

import datetime as dt
import email.utils
import gzip
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.body_archive import BodyArchive
from resources.http_source import HttpSource, Listing, Patience, RefusedError, next_page
from resources.source_error import SourceError
from tests.provider_fixture import Answer, Request, ScriptedServer, scripted_server

KEY = "sk-ant-admin01-PLANTED_secret-0123456789"
QUICK = Patience(attempts=3, first_pause_seconds=0.001, read_timeout_seconds=0.3, answer_timeout_seconds=0.5)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


def source(server: ScriptedServer, **changes: Any) -> HttpSource:
    settings: dict[str, Any] = {
        "name": "Provider",
        "base_url": server.url,
        "headers": {"x-api-key": KEY},
        "secrets": [KEY],
        "key_variable": "PROVIDER_KEY",
        "patience": QUICK,
    }
    return HttpSource(**(settings | changes))


def get(server: ScriptedServer, **changes: Any) -> dict[str, Any]:
    with source(server, **changes).connected() as connection:
        return dict(connection.get("/report", [("day", "1")], "report of a day")[0].values)


def pages(server: ScriptedServer, **changes: Any) -> Listing:
    with source(server, **changes).connected() as connection:
        return connection.pages("/report", [("day", "1")], "report of a day", next_page)


def refusal(action: Callable[[], Any]) -> str:
    with pytest.raises(SourceError) as error:
        action()
    return str(error.value)


def where(server: ScriptedServer) -> str:
    return f"Provider at {server.url.removeprefix('http://')}: report of a day"


def page(number: int, following: str | None = None) -> dict[str, Any]:
    return {"data": [number], "has_more": following is not None, "next_page": following}


# --- what is tried again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        Answer({"error": {"type": "overloaded_error", "message": "busy"}}, status=529),
        Answer(b"oops", status=500),
        Answer(b"", status=503),
        Answer({}, status=408),
        Answer({}, status=409),
        Answer({}, status=429, headers={"retry-after": "0"}),
        Answer({"a": 1}, cut=4),
        Answer({"a": 1}, delay=0.5),
        Answer({"a": "x" * 100}, drip=0.02),
        Answer(b'{"a": 1'),
        Answer(b'{"a": 1, "a": 2}'),
        Answer(b"\xff\xfe"),
        Answer(b"\x1f\x8bnot gzip at all", headers={"content-encoding": "gzip"}),
        Answer(gzip.compress(b'{"a": 1}')[:14], headers={"content-encoding": "gzip"}),
        Answer(b"<html>sign in</html>", headers={"content-type": "text/html"}),
    ],
    ids=lambda answer: f"{answer.status}",
)
def test_a_passing_trouble_is_tried_again(server: ScriptedServer, first: Answer) -> None:
    server.play([first, {"a": 2}])
    assert get(server) == {"a": 2}
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            Answer({"error": {"type": "overloaded_error", "message": "busy"}}, 529),
            "answered 529 overloaded_error: busy",
        ),
        (Answer(b"", 500, {"request-id": "req_7"}), "the provider answered 500 (request req_7)"),
        (Answer({"a": 1}, cut=4), "the connection failed or was cut off (peer closed connection without"),
        (Answer({"a": 1}, delay=0.5), "no answer within 0.3 s"),
        (Answer({"a": "x" * 100}, drip=0.02), "the answer was not complete within 0.5 s"),
        (Answer(b'{"a": 1'), "the body is not JSON at character 7 of 7"),
        (Answer(b"\x1f\x8bno", headers={"content-encoding": "gzip"}), "the answer cannot be read (DecodingError)"),
    ],
)
def test_a_lasting_trouble_is_one_clear_sentence(server: ScriptedServer, answer: Answer, words: str) -> None:
    server.play(lambda _: answer)
    said = refusal(lambda: get(server))
    assert said.startswith(f"{where(server)}: ")
    assert words in said
    assert said.endswith("; tried 3 times. Fix: run it again later; nothing was kept of it.")
    assert len(server.requests) == 3


def test_a_gzipped_answer_is_read(server: ScriptedServer) -> None:
    server.play([Answer(gzip.compress(b'{"a": 2}'), headers={"content-encoding": "gzip"})])
    assert get(server) == {"a": 2}


def test_a_server_that_is_not_there_is_named() -> None:
    with scripted_server() as gone:
        pass
    said = refusal(lambda: get(gone))
    assert f"{where(gone)}: the connection failed or was cut off (" in said
    assert "Connection refused" in said


# --- the pause that the provider asks for --------------------------------------------------------------------------


def test_retry_after_in_seconds_is_honoured(server: ScriptedServer) -> None:
    server.play([Answer({}, 429, {"retry-after": "0.4"}), {"a": 1}])
    began = time.monotonic()
    assert get(server) == {"a": 1}
    assert 0.4 <= time.monotonic() - began < 2


def test_retry_after_as_a_date_is_honoured(server: ScriptedServer) -> None:
    until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
    server.play([Answer({}, 503, {"retry-after": email.utils.format_datetime(until, usegmt=True)}), {"a": 1}])
    assert get(server) == {"a": 1}
    assert dt.datetime.now(dt.UTC) >= until.replace(microsecond=0)


@pytest.mark.parametrize("value", ["", "soon", "-5", "²", "1e3", "nan", "Mon, 99 Foo 2026 00:00:00 GMT"])
def test_a_retry_after_that_says_nothing_is_passed_over(server: ScriptedServer, value: str) -> None:
    server.play([Answer({}, 429, {"retry-after": value.encode().decode("latin-1")}), {"a": 1}])
    assert get(server) == {"a": 1}


def test_a_date_that_is_over_is_no_pause(server: ScriptedServer) -> None:
    server.play([Answer({}, 429, {"retry-after": "Wed, 01 Jan 2020 00:00:00 GMT"}), {"a": 1}])
    assert get(server) == {"a": 1}


@pytest.mark.parametrize("value", ["7200", "9" * 400])
def test_a_longer_pause_than_ours_is_an_error_that_names_the_time(server: ScriptedServer, value: str) -> None:
    server.play([Answer({"error": {"type": "rate_limit_error", "message": "slow down"}}, 429, {"retry-after": value})])
    expected = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=min(float(value), 10 * 365 * 86400))
    said = refusal(lambda: get(server))
    assert said in {
        f"{where(server)}: the provider asks to wait until {moment:%Y-%m-%d %H:%M} UTC "
        "(429 rate_limit_error: slow down). Fix: run it again then."
        for moment in (expected, expected + dt.timedelta(minutes=1))
    }
    assert len(server.requests) == 1


# --- what is refused at once ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "fix"),
    [
        (400, "see the connection guide in docs/"),
        (401, "export a valid admin key in PROVIDER_KEY"),
        (403, "give the key in PROVIDER_KEY the right to read this"),
        (404, "check base_url in tokengov.yaml and whether the organisation has this endpoint"),
        (410, "see the connection guide in docs/"),
        (302, "correct base_url in tokengov.yaml; the key is not sent along a redirection"),
        (204, "see the connection guide in docs/"),
    ],
)
def test_a_refusal_is_not_tried_again(server: ScriptedServer, status: int, fix: str) -> None:
    body = {"type": "error", "error": {"type": "some_error", "message": "no\nway\x1b[31m"}}
    server.play([Answer(body if status != 204 else b"", status, {"location": server.url, "request-id": "req_9"})])
    with pytest.raises(RefusedError) as error:
        get(server)
    said = " some_error: no way [31m" if status != 204 else ""
    assert str(error.value) == f"{where(server)}: refused with {status}{said} (request req_9). Fix: {fix}."
    assert error.value.status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"[1]", b'"text"', b"null", b"7"])
def test_an_answer_that_is_no_object_is_refused(server: ScriptedServer, body: bytes) -> None:
    server.play([body])
    assert refusal(lambda: get(server)).endswith("the answer is no JSON object. Fix: check base_url in tokengov.yaml.")


@pytest.mark.parametrize("url", ["api.example.com", "ftp://api.example.com", "https://[broken", "https://a b/", ""])
def test_a_base_url_that_is_none_is_said_at_once(server: ScriptedServer, url: str) -> None:
    began = time.monotonic()
    assert refusal(lambda: get(server, base_url=url, patience=Patience())) == (
        "Provider: base_url is no https:// URL. Fix: correct it in tokengov.yaml."
    )
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        ([""], "PROVIDER_KEY is not set. Fix: export an admin key."),
        ([], "PROVIDER_KEY is not set. Fix: export an admin key."),
        ([KEY + "\n"], "PROVIDER_KEY holds characters that no key has"),
        ([" " + KEY], "PROVIDER_KEY holds characters that no key has"),
        (["schlüssel"], "PROVIDER_KEY holds characters that no key has"),
    ],
)
def test_a_key_that_cannot_be_one_is_not_sent(server: ScriptedServer, secrets: list[str], words: str) -> None:
    server.play([{"a": 1}])
    said = refusal(lambda: get(server, secrets=secrets))
    assert words in said
    assert "PLANTED" not in said
    assert server.requests == []


# --- paging --------------------------------------------------------------------------------------------------------


def test_every_page_is_read_with_the_same_parameters(server: ScriptedServer, tmp_path: Path) -> None:
    server.play([page(1, "p2"), page(2, "p3"), page(3)])
    archive = BodyArchive(str(tmp_path))
    listing = pages(server, archive=archive)
    assert [entry.values["data"] for entry in listing.pages] == [[1], [2], [3]]
    assert [request.params for request in server.requests] == [
        [("day", "1")],
        [("day", "1"), ("page", "p2")],
        [("day", "1"), ("page", "p3")],
    ]
    assert json.loads(archive.get("provider", listing.bodies[1])) == page(2, "p3")


def test_an_expired_cursor_starts_the_listing_again(server: ScriptedServer) -> None:
    gone = Answer({"error": {"type": "invalid_request_error", "message": "cursor expired"}}, status=410)
    server.play([page(1, "p2"), gone, page(10, "q2"), page(20)])
    assert [entry.values["data"] for entry in pages(server).pages] == [[10], [20]]


def test_a_cursor_that_always_expires_is_an_error(server: ScriptedServer) -> None:
    server.play(lambda request: Answer({}, status=410) if request.param("page") else page(1, "p2"))
    assert refusal(lambda: pages(server)) == (f"{where(server)}: the cursor expired 4 times. Fix: run it again later.")
    assert len(server.requests) == 8


def test_a_first_page_that_is_gone_is_an_endpoint_that_is_gone(server: ScriptedServer) -> None:
    server.play(lambda _: Answer({"error": {"type": "gone", "message": "retired"}}, status=410))
    assert "page 1: refused with 410 gone: retired. Fix:" in refusal(lambda: pages(server))
    assert len(server.requests) == 1


def test_a_page_that_leads_back_is_refused_and_archived(server: ScriptedServer, tmp_path: Path) -> None:
    server.play(lambda _: page(1, "again"))
    assert f"{where(server)}, page 2: the answer leads back to a page that was read, after 2 pages. Fix:" in refusal(
        lambda: pages(server, archive=BodyArchive(str(tmp_path)))
    )
    assert len(list(tmp_path.rglob("*.json.gz"))) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"has_more": True, "next_page": None}, "has_more is true and next_page is empty"),
        ({"has_more": True, "next_page": ""}, "has_more is true and next_page is empty"),
        ({"has_more": True}, "has_more is true and next_page is empty"),
        ({"has_more": False, "next_page": "p2"}, "has_more is false and next_page is given"),
        ({"next_page": "p2"}, "has_more is missing"),
        ({"has_more": "yes", "next_page": "p2"}, "has_more should be true or false and is text"),
        ({"has_more": True, "next_page": 2}, "next_page should be text and is a number"),
    ],
)
def test_a_page_that_contradicts_itself_is_refused(server: ScriptedServer, body: dict[str, Any], words: str) -> None:
    server.play([body])
    assert f"{where(server)}, page 1: {words}. Fix:" in refusal(lambda: pages(server))


# --- secrets -------------------------------------------------------------------------------------------------------


def test_a_secret_that_the_provider_repeats_is_shown_nowhere(
    server: ScriptedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for message in (f"no {KEY}", "x" * 290 + KEY, f"Bearer {KEY}", "sk-ant-admin01-somebody-elses-key_99 is revoked"):
        for status in (400, 401, 500):
            answer = Answer({"error": {"type": "e", "message": message}}, status, {"request-id": f"r-{KEY}", "x": KEY})
            server.play(lambda _, answer=answer: answer)
            said = refusal(lambda: get(server))
            assert "***" in said
            assert not any(part in said for part in ("PLANTED", "sk-ant", "elses"))
    archive = BodyArchive(str(tmp_path))
    server.play([Answer({"data": KEY, "has_more": False, "next_page": None}, headers={"x": KEY})])
    listing = pages(server, archive=archive)
    assert listing.pages[0].values["data"] == "***"
    assert json.loads(archive.get("provider", listing.bodies[0]))["data"] == "***"
    assert "PLANTED" not in caplog.text
    assert "PLANTED" not in repr(source(server))


def test_the_key_is_sent_and_only_as_a_header(server: ScriptedServer) -> None:
    def answer(request: Request) -> dict[str, Any]:
        return {"key": request.headers["x-api-key"] == KEY, "url": request.path, "params": request.params}

    server.play(answer)
    assert get(server) == {"key": True, "url": "/report", "params": [["day", "1"]]}


def test_the_archive_keeps_a_body_once(tmp_path: Path) -> None:
    archive = BodyArchive(str(tmp_path))
    assert archive.put("provider", b'{"a": 1}') == archive.put("provider", b'{"a": 1}')
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
    with pytest.raises(FileNotFoundError):
        archive.get("provider", "0" * 64)
