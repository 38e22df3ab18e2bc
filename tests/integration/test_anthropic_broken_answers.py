"""Broken answers of Anthropic over real HTTP: none is swallowed, none half-loads, each error says what and where.

Every valid body is broken in every field by hand-made values, and by Hypothesis in random ways. The lake holds an
earlier load of the same days, and no file of it may change.
"""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.anthropic import AnthropicReports
from resources.lake import Lake
from resources.source_error import SourceError
from tests.anthropic_fixture import (
    ADMIN_KEY,
    API_KEYS,
    COST,
    DAYS,
    EXTRACTED_AT,
    LEGACY_COST,
    LEGACY_USAGE,
    USAGE,
    body,
    listed,
)
from tests.provider_fixture import Answer, Request, ScriptedServer, scripted_server

NAMES = {
    USAGE: "usage analytics of 2026-10-01 to 2026-10-03",
    COST: "cost analytics of 2026-10-01 to 2026-10-03",
    LEGACY_USAGE: "usage report of 2026-10-01 to 2026-10-03",
    LEGACY_COST: "cost report of 2026-10-01 to 2026-10-03",
    API_KEYS: "API keys",
}
REPORTS = [USAGE, COST, LEGACY_USAGE, LEGACY_COST]

# Fields that the product does not read; whatever stands there is passed over.
UNREAD = {"account_id", "requests"}
_GROUPS = ["api_key_id", "workspace_id", "model", "service_tier", "context_window", "inference_geo", "description"]
_COUNTS = [
    "uncached_input_tokens",
    "cache_read_input_tokens",
    "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens",
    "output_tokens",
    "web_search_requests",
]
_NO_TIME = [None, 7, "", "yesterday", "2026-10-01T00:00:00", "2026-10-01T12:00:00Z", "2026-10-09T00:00:00Z"]
_NO_COUNT = [None, "7", True, 1.5, -1, 2**63, [], {}]
BAD: dict[str, list[Any]] = {
    **{name: [7, True, [], {}, "a\x00b", "\ud800"] for name in _GROUPS},
    **dict.fromkeys(_COUNTS, _NO_COUNT),
    "cost_type": [7, True, [], {}],
    "token_type": [7, True, [], {}],
    "amount": [None, "", "abc", "NaN", "Infinity", "1_0", "1e30", "\u0661", True, [], {}],
    "list_amount": ["", "NaN", True, [], {}],
    "currency": [None, "EUR", "usd", "", 7],
    "starting_at": _NO_TIME,
    "ending_at": _NO_TIME,
    "group": [None, [], "x", 7],
    "usage": [None, [], "x", 7],
    "cost": [None, [], "x", 7],
    "cache_creation": [None, [], "x", 7],
    "server_tool_use": [None, [], "x", 7],
    "results": [None, {}, "x", [7], [None]],
    "data": [None, {}, "x", [7], [[]]],
    "has_more": [None, 0, "false", True],
    "next_page": [7, [], "page_2"],
    "data_refreshed_at": [7, "yesterday", "2026-10-01T00:00:00", []],
}
OPTIONAL = {"next_page"}
"""Fields that may be absent."""


@dataclass(frozen=True)
class Broken:
    """A body that was broken, and what its error has to name."""

    path: str
    content: bytes
    field: str


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of every field of a body."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in UNREAD:
                yield (*path, name)
                yield from places(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


def written(path: tuple[Any, ...]) -> str:
    """A path as errors write it: data[0].group.model."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def with_value(whole: dict[str, Any], path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> bytes:
    changed = copy.deepcopy(whole)
    parent = changed
    for part in path[:-1]:
        parent = parent[part]
    change(parent, path[-1])
    return json.dumps(changed).encode()


def dropped(path: str, place: tuple[Any, ...]) -> Broken:
    return Broken(path, with_value(body(path), place, lambda parent, name: parent.pop(name)), written(place))


def replaced(path: str, place: tuple[Any, ...], value: Any) -> Broken:
    def change(parent: Any, name: Any) -> None:
        parent[name] = value

    return Broken(path, with_value(body(path), place, change), place[-1])


def hand_made(path: str) -> Iterator[Broken]:
    """Every field of a report dropped, and given every value that it cannot have."""
    seen: set[tuple[Any, ...]] = set()
    for place in places(body(path)):
        kind = tuple(part for part in place if isinstance(part, str))
        if kind in seen:  # once for each kind of field
            continue
        seen.add(kind)
        if place[-1] not in OPTIONAL:
            yield dropped(path, place)
        for value in BAD[place[-1]]:
            yield replaced(path, place, value)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


class Installed:
    """A lake that holds the three days and the lists, and how to read them once more."""

    def __init__(self, server: ScriptedServer, root: Path) -> None:
        self._server = server
        self.root = root
        self.lake = Lake(root=str(root / "lake"), cache_dir=str(root / "cache"))
        for path in NAMES:
            server.play(lambda request: body(request.path) if request.path in REPORTS else listed(request))
            self.read(path)
        self.before = self.files()
        assert sum(name.endswith("current.json") for name in self.before) == 4 * len(DAYS) + 4

    def read(self, path: str) -> None:
        """Read what a path answers."""
        source = AnthropicReports(
            admin_key=ADMIN_KEY,
            base_url=self._server.url,
            report="legacy" if path in {LEGACY_USAGE, LEGACY_COST} else "analytics",
            attempts=2,
            first_pause_seconds=0.0001,
            read_timeout_seconds=5,
        )
        # A lake of its own for each generation, because an installation has one of them.
        lake = Lake(root=f"{self.lake.root}/{source.report}", cache_dir=self.lake.cache_dir)
        if path == API_KEYS:
            source.load_snapshots(lake, EXTRACTED_AT)
        else:
            list((source.load_usage if path in {USAGE, LEGACY_USAGE} else source.load_cost)(lake, DAYS, EXTRACTED_AT))

    def files(self) -> dict[str, bytes]:
        """Everything but archived answers."""
        raw = [path for path in self.root.rglob("*") if path.is_file() and "bodies" not in path.parts]
        return {str(path): path.read_bytes() for path in raw}

    def refuses(self, path: str, answer: Answer | bytes) -> str:
        """Read a broken answer; it has to be refused and to change nothing. Returns the error."""

        def script(request: Request) -> Any:
            return answer if request.path == path else listed(request)

        self._server.play(script)
        with pytest.raises(SourceError) as error:
            self.read(path)
        said = str(error.value)
        assert said.startswith(f"Anthropic at 127.0.0.1:{self._server.url.rsplit(':', 1)[1]}: {NAMES[path]}"), said
        assert ". Fix: " in said
        assert "PLANTED" not in said
        assert self.files() == self.before, said
        return said


@pytest.fixture(scope="module")
def installed(server: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(server, tmp_path_factory.mktemp("installed"))


@pytest.mark.parametrize("path", REPORTS)
def test_every_field_is_read_strictly(installed: Installed, path: str) -> None:
    tried = 0
    for broken in hand_made(path):
        said = installed.refuses(broken.path, broken.content)
        name = broken.field
        if name != "next_page":  # it contradicts has_more, and either may be named
            assert name in said, (broken, said)
        tried += 1
    assert tried >= 100


def test_every_field_of_a_key_is_read_strictly(installed: Installed) -> None:
    whole = listed(Request(API_KEYS, [], {}))
    for place in [("data",), ("has_more",), *(("data", 1, name) for name in ("id", "name", "status", "created_at"))]:
        content = with_value(whole, place, lambda parent, name: parent.pop(name))
        assert f"{written(place)} is missing" in installed.refuses(API_KEYS, content)
        for value in (7, [], {"a": 1}, None):
            if (place, value) == (("data",), []):  # a list without entries is one
                continue
            content = with_value(whole, place, lambda parent, name, value=value: parent.__setitem__(name, value))
            assert f"{written(place)} " in installed.refuses(API_KEYS, content)
    twice = whole | {"data": [*whole["data"], whole["data"][0]]}
    assert "data[3].id came twice: 'apikey_01'" in installed.refuses(API_KEYS, json.dumps(twice).encode())


@pytest.mark.parametrize("path", REPORTS)
def test_rows_and_buckets_that_cannot_be_are_refused(installed: Installed, path: str) -> None:
    whole = body(path)
    is_legacy = path in {LEGACY_USAGE, LEGACY_COST}
    rows = whole["data"][0]["results"] if is_legacy else whole["data"]
    rows.append(copy.deepcopy(rows[0]))
    assert "2026-10-01: the same row came twice" in installed.refuses(path, json.dumps(whole).encode())
    if is_legacy:
        for number, day in enumerate(DAYS):
            less = body(path)
            del less["data"][number]
            assert f"no bucket for {day}. Fix:" in installed.refuses(path, json.dumps(less).encode())
    for raw in (b"", b"null", b"[]", b'"x"', b"7", b"{}", b"<html>", b"\xff\xfe{}", b'{"data":[]}', b"{" * 100_000):
        installed.refuses(path, raw)
    text = json.dumps(body(path)).encode()
    assert "cut off" in installed.refuses(path, Answer(text, cut=len(text) // 2))
    assert "the answer cannot be read" in installed.refuses(path, Answer(text, headers={"content-encoding": "gzip"}))


@st.composite
def broken_bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """A valid body broken in one to three random ways, each of which makes it unusable on its own."""
    path = draw(st.sampled_from(REPORTS))
    whole = body(path)
    kinds = ["drop", "replace", "truncate", "constant", "twice", "garbage", "repeat"]
    way = draw(st.sampled_from(kinds))
    if way in {"drop", "replace"}:
        content = whole
        for _ in range(draw(st.integers(1, 3))):
            known = [p for p in places(content) if p[-1] not in OPTIONAL]
            if not known:
                break
            place = draw(st.sampled_from(known))
            if way == "drop":
                content = json.loads(with_value(content, place, lambda parent, name: parent.pop(name)))
            else:
                bad = draw(st.sampled_from(BAD[place[-1]]))
                content = json.loads(
                    with_value(content, place, lambda parent, name, bad=bad: parent.__setitem__(name, bad))
                )
        return path, json.dumps(content).encode()
    if way == "repeat":
        holders = [bucket["results"] for bucket in whole["data"]] if path in {LEGACY_USAGE, LEGACY_COST} else [
            whole["data"]]  # fmt: skip
        rows = draw(st.sampled_from([rows for rows in holders if rows]))
        rows.insert(draw(st.integers(0, len(rows))), copy.deepcopy(draw(st.sampled_from(rows))))
        return path, json.dumps(whole).encode()
    text = json.dumps(whole)
    if way == "truncate":
        return path, text[: draw(st.integers(0, len(text) - 1))].encode()
    if way == "constant":
        at = draw(st.sampled_from([at for at in range(len(text)) if text.startswith('": ', at)])) + 3
        constant = draw(st.sampled_from(["NaN", "Infinity", "-Infinity", "undefined", "0x1", "01", "+1", "'a'"]))
        return path, f"{text[:at]}{constant}, {text[at:]}".encode()
    if way == "twice":
        at = draw(st.sampled_from([at for at in range(len(text)) if text[at] == "{" and text[at + 1] == '"']))
        name = json.loads(text[at + 1 : text.index(":", at)])
        return path, f"{text[: at + 1]}{json.dumps(name)}: 0, {text[at + 1 :]}".encode()
    garbage = draw(st.sampled_from([b"\xff", b"\x00", b"\x1f\x8b", b"}", b"{", b"]", b"//", b"<", b"\xed\xa0\x80"]))
    at = draw(st.sampled_from([0, len(text)]))
    return path, text[:at].encode() + garbage + text[at:].encode()


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(broken=broken_bodies())
def test_no_random_damage_is_swallowed(installed: Installed, broken: tuple[str, bytes]) -> None:
    said = installed.refuses(*broken)
    place = said.split(NAMES[broken[0]], 1)[1]
    assert any(word in place for word in (", page 1: ", "the same row came twice", "no bucket for")), said
