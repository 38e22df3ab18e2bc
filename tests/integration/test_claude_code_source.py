"""Claude Code analytics over real HTTP: days, pages, refusals, broken answers, and no address in the lake."""

import copy
import datetime as dt
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.claude_code import ClaudeCodeFacts, claude_code_assets, gather_claude_code
from resources.anthropic import AnthropicReports
from resources.anthropic_claude_code import CLAUDE_CODE, PATH, load_claude_code
from resources.home import Home
from resources.lake import Lake, LakeTable, LoadOutcome
from resources.source_error import SourceError
from resources.tables import Tables
from tests.provider_fixture import Answer, Request, ScriptedServer, Step, scripted_server
from tokengov_pipelines.demo.providers.books import ClaudeCodeCell, ProviderBooks
from tokengov_pipelines.demo.providers.faults import ClosedConnection, Delay, Fault, NotJson, Status, Truncated
from tokengov_pipelines.demo.providers.server import ProviderServer
from tokengov_pipelines.domain.claude_code import BypassTolerance, claude_code_evidence, hashed_email

KEY = "sk-ant-admin01-PLANTED_secret-0123456789"
DAYS = [dt.date(2026, 10, 1), dt.date(2026, 10, 2), dt.date(2026, 10, 3)]
NOW = dt.datetime(2026, 11, 5, 3, 7, tzinfo=dt.UTC)
ANA, BEN = "ana@acme.example", "ben@acme.example"
SERVED = f"/anthropic{PATH}"


def cell(email: str | None, day: dt.date = DAYS[0], cost: str = "1.41", **changes: Any) -> ClaudeCodeCell:
    counts = {"input": 100_000, "output": 35_000, "cache_read": 10_000, "cache_creation": 5_000}
    return ClaudeCodeCell(
        day, "anthropic", email, **({"model": "claude-opus-5", "estimated_cost": Decimal(cost)} | counts | changes)
    )


CELLS = (
    cell("Ana@Acme.Example"),
    cell("Ana@Acme.Example", cost="0.03", model="claude-haiku-4-5", input=10, output=0, cache_read=0, cache_creation=0),
    cell(ANA, cost="2.00", terminal_type="iTerm.app", is_remote=True),
    cell(BEN, cost="30.00", customer_type="subscription"),
    cell(None, cost="5.005", api_key_name="ci-runner"),
    cell(BEN, DAYS[2], cost="0.00", model=None),
)


@pytest.fixture(scope="module")
def provider() -> Iterator[ProviderServer]:
    with ProviderServer(ProviderBooks(claude_code=CELLS), anthropic_key=KEY) as server:
        yield server


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path / "lake"), cache_dir=str(tmp_path / "cache"))


def reports(url: str) -> AnthropicReports:
    return AnthropicReports(
        admin_key=KEY,
        account="acme",
        base_url=url,
        attempts=3,
        first_pause_seconds=0.001,
        longest_pause_seconds=2.0,
        read_timeout_seconds=0.5,
    )


def load(url: str, lake: Lake, days: list[dt.date] = DAYS, at: dt.datetime = NOW) -> dict[dt.date, LoadOutcome]:
    return dict(load_claude_code(reports(url), lake, days, at))


def rows(lake: Lake) -> list[dict[str, Any]]:
    return [
        row
        for path in lake.current_files(CLAUDE_CODE.name)
        for row in pq.read_table(path, partitioning=None).to_pylist()
    ]


def refusal(action: Callable[[], Any]) -> str:
    with pytest.raises(SourceError) as error:
        action()
    said = str(error.value)
    assert "PLANTED" not in said
    assert "acme.example" not in said.lower()
    return said


# --- what is asked and what is kept ----------------------------------------------------------------------------------


def test_a_day_is_a_request_and_a_load(provider: ProviderServer, lake: Lake) -> None:
    asked = len(provider.requests_to(SERVED))
    outcomes = load(provider.anthropic_url, lake)
    assert [outcomes[day].verdict for day in DAYS] == ["first", "zero_proven", "first"]
    assert [request.params for request in provider.requests_to(SERVED)[asked:]] == [
        (("starting_at", str(day)), ("limit", "1000")) for day in DAYS
    ]
    assert outcomes[DAYS[0]].seen.sums == {
        "input_tokens": "400010",
        "output_tokens": "140000",
        "cache_read_tokens": "40000",
        "cache_creation_tokens": "20000",
        "estimated_usd_cents": "3844.500000000000",
    }
    kept = {(row["actor_sha256"], row["terminal_type"], row["model"]): row for row in rows(lake)}
    assert len(kept) == 6
    mine = kept[hashed_email(ANA), "vscode", "claude-opus-5"]
    assert {name: value for name, value in mine.items() if name != "record_sha256"} == {
        "usage_date": DAYS[0],
        "account": "acme",
        "actor_type": "user",
        "actor_sha256": hashed_email(ANA),
        "api_key_name": None,
        "customer_type": "api",
        "terminal_type": "vscode",
        "is_remote": None,
        "model": "claude-opus-5",
        "input_tokens": 100_000,
        "output_tokens": 35_000,
        "cache_read_tokens": 10_000,
        "cache_creation_tokens": 5_000,
        "estimated_cost_text": "141.00",
        "source_unit": "usd_cents",
    }
    assert kept[hashed_email(ANA), "iTerm.app", "claude-opus-5"]["is_remote"] is True
    assert kept[hashed_email(BEN), "vscode", "claude-opus-5"]["customer_type"] == "subscription"
    key = kept[None, "vscode", "claude-opus-5"]
    assert (key["actor_type"], key["api_key_name"], key["estimated_cost_text"]) == ("api", "ci-runner", "500.500")
    idle = kept[hashed_email(BEN), "vscode", None]
    assert (idle["input_tokens"], idle["estimated_cost_text"]) == (0, "0")


def test_no_address_and_no_answer_is_kept(provider: ProviderServer, lake: Lake, tmp_path: Path) -> None:
    """Rule 12.7: the answers hold people's sessions and lines beside their addresses, so they are not archived."""
    load(provider.anthropic_url, lake)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any("bodies" in path.parts for path in files)
    for path in files:
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += str(pq.read_table(path, partitioning=None).to_pylist()).encode()
        assert b"acme.example" not in content.lower(), path
        assert b"num_sessions" not in content
        assert b"PLANTED" not in content


def test_pages_leave_no_trace(lake: Lake, tmp_path: Path) -> None:
    found = []
    for limit in (None, 1, 2):
        other = Lake(root=str(tmp_path / str(limit)), cache_dir=str(tmp_path / "cache"))
        with ProviderServer(ProviderBooks(claude_code=CELLS), anthropic_key=KEY, page_limit=limit) as server:
            found.append({day: outcome.seen.sha256 for day, outcome in load(server.anthropic_url, other).items()})
            assert len(server.requests_to(SERVED)) == {None: 3, 1: 6, 2: 4}[limit]
    assert found[0] == found[1] == found[2]


def test_a_day_is_whole_an_hour_after_its_end(provider: ProviderServer, lake: Lake) -> None:
    early = dt.datetime(2026, 10, 4, 0, 59, tzinfo=dt.UTC)
    outcomes = load(provider.anthropic_url, lake, at=early)
    assert [outcomes[day].verdict for day in DAYS] == ["first", "zero_proven", "first"]
    assert lake.known_until(CLAUDE_CODE.name, f"day={DAYS[2]}") == (early - dt.timedelta(hours=1), False)
    empty = load(provider.anthropic_url, lake, [dt.date(2026, 10, 4)], dt.datetime(2026, 10, 5, 0, 30, tzinfo=dt.UTC))
    (outcome,) = empty.values()
    assert outcome.verdict == "unproven_zero"
    assert outcome.reason == "the provider's figures reach until 2026-10-04 23:30 UTC and hold nothing of this day"


def test_a_reread_confirms_and_a_change_is_a_new_load(scripted: ScriptedServer, lake: Lake) -> None:
    changed = body()
    changed["data"][0]["model_breakdown"][0]["estimated_cost"]["amount"] = 142
    scripted.play([body(), body(), changed, body(data=[])])
    found = [load(scripted.url, lake, [DAYS[0]], NOW + dt.timedelta(days=day))[DAYS[0]] for day in range(4)]
    assert [outcome.verdict for outcome in found] == ["first", "unchanged", "grown", "shrunk"]
    assert lake.current(CLAUDE_CODE.name, f"day={DAYS[0]}") == found[2].seen


# --- troubles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "action",
    [Status(429, "0.1"), Status(500), Status(529), Delay(0.8), Truncated(), NotJson(), ClosedConnection()],
    ids=lambda action: f"{type(action).__name__}{getattr(action, 'code', '')}",
)
def test_a_passing_trouble_costs_nothing(provider: ProviderServer, lake: Lake, action: Any) -> None:
    provider.plant(Fault(SERVED, action))
    assert load(provider.anthropic_url, lake, [DAYS[0]])[DAYS[0]].seen.rows == 5


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer({}, status=401), "refused with 401. Fix: export a valid admin key in TOKENGOV_ANTHROPIC_ADMIN_KEY."),
        (Answer({}, status=403), "refused with 403. Fix: give the key in TOKENGOV_ANTHROPIC_ADMIN_KEY the right to"),
        (Answer({}, status=404), "refused with 404. Fix: check base_url in tokengov.yaml and whether the organisation"),
        (Answer({}, status=429), "the provider answered 429; tried 3 times. Fix: run it again later; nothing was kept"),
        (Answer({}, status=500), "the provider answered 500; tried 3 times. Fix:"),
        (Answer({}, delay=0.8), "no answer within 0.5 s; tried 3 times. Fix:"),
        (Answer({}, status=429, headers={"retry-after": "3600"}), "the provider asks to wait until 2"),
    ],
)
def test_a_lasting_trouble_names_the_day_and_keeps_the_days_before(
    scripted: ScriptedServer, lake: Lake, answer: Answer, words: str
) -> None:
    def script(request: Request) -> Step:
        return answer if request.param("starting_at") == "2026-10-02" else body(day=request.param("starting_at") or "")

    scripted.play(script)
    said = refusal(lambda: load(scripted.url, lake))
    assert said.startswith(
        f"Anthropic at {scripted.url.removeprefix('http://')}: Claude Code analytics of 2026-10-02, page 1: {words}"
    )
    assert lake.partitions(CLAUDE_CODE.name) == ["day=2026-10-01"]


# --- broken answers --------------------------------------------------------------------------------------------------


def record(email: str = ANA, day: str = "2026-10-01", amount: Any = 141) -> dict[str, Any]:
    """A record as the API's reference shows it."""
    return {
        "date": f"{day}T00:00:00Z",
        "actor": {"type": "user_actor", "email_address": email},
        "organization_id": "dc9f6c26-b22c-4831-8d01-0446bada88f1",
        "customer_type": "api",
        "terminal_type": "vscode",
        "core_metrics": {"num_sessions": 5, "lines_of_code": {"added": 1543, "removed": 892}},
        "tool_actions": {"edit_tool": {"accepted": 45, "rejected": 5}},
        "model_breakdown": [
            {
                "model": "claude-opus-5",
                "tokens": {"input": 100000, "output": 35000, "cache_read": 10000, "cache_creation": 5000},
                "estimated_cost": {"currency": "USD", "amount": amount},
            }
        ],
    }


def body(data: list[dict[str, Any]] | None = None, day: str = "2026-10-01", **changes: Any) -> dict[str, Any]:
    whole = [record(day=day), record(BEN, day)] if data is None else data
    return {"data": copy.deepcopy(whole), "has_more": False, "next_page": None} | changes


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of the fields that are read, once for each kind."""
    unread = {"organization_id", "core_metrics", "tool_actions", "next_page"}
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in unread:
                yield (*path, name)
                yield from places(inner, (*path, name))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


_NO_COUNT = [None, "7", True, 1.5, -1, 2**63, [], {}]
BAD: dict[str, list[Any]] = {
    "data": [None, {}, "x", [7], [None]],
    "has_more": [None, 0, "false", True],
    "date": [None, 7, "", "2026-10-01T12:00:00Z", "2026-10-02T00:00:00Z", "2026-10-01T00:00:00"],
    "actor": [None, [], "x", {"type": "user_actor"}, {"type": "robot"}, {"type": "api_actor", "email_address": ANA}],
    "type": [None, 7, "user", "api_actor"],
    "email_address": [None, 7, "", " ", "a\x00b@c", "\ud800@c"],
    "customer_type": [None, 7, "API", "seat", ""],
    "terminal_type": [7, [], {}],
    "model_breakdown": [None, {}, "x", [7], [{}]],
    "model": [None, 7, [], "a\x00b"],
    "tokens": [None, [], 7, {}],
    "input": _NO_COUNT,
    "output": _NO_COUNT,
    "cache_read": _NO_COUNT,
    "cache_creation": _NO_COUNT,
    "estimated_cost": [None, [], 7, {}],
    "currency": [None, "EUR", "usd", "", 7],
    "amount": [None, "", "141", "141.00", "abc", True, [], {}, -1, -0.5, 1e30],
}


def with_value(whole: dict[str, Any], path: tuple[Any, ...], change: Callable[[Any, Any], Any]) -> bytes:
    changed = copy.deepcopy(whole)
    parent: Any = changed
    for part in path[:-1]:
        parent = parent[part]
    change(parent, path[-1])
    return json.dumps(changed).encode()


def test_every_field_is_read_strictly_and_nothing_half_loads(scripted: ScriptedServer, lake: Lake) -> None:
    scripted.play([body()])
    load(scripted.url, lake, [DAYS[0]])
    before = {path: path.read_bytes() for path in Path(lake.root).rglob("*") if path.is_file()}
    broken = []
    for place in places(body()):
        broken.append((place[-1], with_value(body(), place, lambda parent, name: parent.pop(name))))
        for bad in BAD[place[-1]]:
            content = with_value(body(), place, lambda parent, name, bad=bad: parent.__setitem__(name, bad))
            broken.append((place[-1], content))
    assert len(broken) > 100
    for name, content in broken:
        scripted.play(lambda _, content=content: content)
        said = refusal(lambda: load(scripted.url, lake, [DAYS[0]]))
        assert "Claude Code analytics of 2026-10-01, page 1: " in said, content
        assert ". Fix: " in said
        assert name in said or name in {"actor", "type", "data", "tokens", "estimated_cost", "model_breakdown"}, said
    after = {path: path.read_bytes() for path in Path(lake.root).rglob("*") if path.is_file()}
    assert after == before


def test_optional_fields_may_be_there_or_not(scripted: ScriptedServer, lake: Lake) -> None:
    data = [record() | {"is_remote": None, "terminal_type": None}, record(BEN) | {"is_remote": False, "new_field": [7]}]
    scripted.play([body(data)])
    load(scripted.url, lake, [DAYS[0]])
    assert sorted((row["terminal_type"] or "", row["is_remote"]) for row in rows(lake)) == [
        ("", None),
        ("vscode", False),
    ]
    scripted.play([body([record() | {"is_remote": "no"}])])
    assert "is_remote should be true or false and is text" in refusal(lambda: load(scripted.url, lake, [DAYS[0]]))


def test_an_amount_of_another_unit_is_named(scripted: ScriptedServer, lake: Lake) -> None:
    scripted.play([body([record(amount="141")])])
    assert "estimated_cost.amount should be a number of cents and is text, so its unit is not known. Fix:" in refusal(
        lambda: load(scripted.url, lake, [DAYS[0]])
    )


def test_a_page_that_comes_twice_is_refused_and_a_second_terminal_is_not(scripted: ScriptedServer, lake: Lake) -> None:
    page = body(has_more=True, next_page="p2")
    scripted.play([page, body()])
    said = refusal(lambda: load(scripted.url, lake, [DAYS[0]]))
    assert "2026-10-01: the same row came twice (record_sha256 " in said
    scripted.play(lambda _: page)
    assert "leads back to a page that was read" in refusal(lambda: load(scripted.url, lake, [DAYS[0]]))
    scripted.play([body(has_more=True)])
    assert "has_more is true and next_page is empty" in refusal(lambda: load(scripted.url, lake, [DAYS[0]]))
    assert lake.seen_partitions(CLAUDE_CODE.name) == []
    # The reference does not show is_remote, by which records may be told apart: equal keys are no repetition.
    scripted.play([body([record(), record(amount=9)])])
    assert load(scripted.url, lake, [DAYS[0]])[DAYS[0]].seen.sums["estimated_usd_cents"] == "150.000000000000"


def test_an_expired_cursor_starts_the_day_again(scripted: ScriptedServer, lake: Lake) -> None:
    scripted.play([body(has_more=True, next_page="p2"), Answer({}, status=410), body()])
    assert load(scripted.url, lake, [DAYS[0]])[DAYS[0]].seen.rows == 2


def test_a_key_that_the_api_does_not_take_is_refused(lake: Lake) -> None:
    with ProviderServer(ProviderBooks(claude_code=CELLS), anthropic_key="another") as server:
        assert "refused with 401 authentication_error: invalid x-api-key" in refusal(
            lambda: load(server.anthropic_url, lake)
        )


# --- what the rule is given ------------------------------------------------------------------------------------------


def replace(lake: Lake, table: str, content: list[dict[str, Any]]) -> None:
    lake.replace(table, pa.Table.from_pylist(content), NOW)


def logged(lake: Lake, tables: Tables, day: dt.date, spend: list[tuple[str | None, str, str, str]]) -> None:
    """A day of the proxy's log that was read to its end: user, provider, call class and logged USD."""
    log = LakeTable("litellm_spend_logs", pa.schema([("request_id", pa.string())]))
    with lake.writing(log) as writer:
        writer.write(pa.RecordBatch.from_pylist([{"request_id": "r"}], schema=log.schema))
        lake.commit(log, f"day={day}", writer, extracted_at=NOW, window=(str(day), str(day)))
    schema = pa.schema(
        [
            ("user_id", pa.string()),
            ("provider", pa.string()),
            ("call_class", pa.string()),
            ("logged_spend_usd", pa.decimal128(38, 12)),
        ]
    )
    content = [dict(zip(schema.names, (*row[:3], Decimal(row[3])), strict=True)) for row in spend]
    tables.write("fct_usage_daily", f"usage_date={day}", pa.Table.from_pylist(content, schema=schema))


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(root=str(tmp_path / "tables"))


def gathered(lake: Lake, tables: Tables) -> ClaudeCodeFacts:
    found = gather_claude_code(lake, tables, DAYS)
    assert found is not None
    return found


def test_the_facts_join_people_by_hash(provider: ProviderServer, lake: Lake, tables: Tables) -> None:
    assert gather_claude_code(lake, tables, DAYS) is None
    load(provider.anthropic_url, lake)
    valid = {"valid_from": dt.date(2026, 1, 1), "valid_to": None}
    replace(lake, "directory_users", [{"email": ANA, "user_id": "u-ana", "team_id": "t-pay", **valid}])
    replace(lake, "directory_teams", [{"team_id": "t-pay", "cost_center": "CC-100", **valid}])
    replace(lake, "litellm_users", [{"user_id": "u-ben", "user_email": BEN}, {"user_id": "u-x", "user_email": None}])
    logged(
        lake,
        tables,
        DAYS[0],
        [
            ("u-ana", "anthropic", "call", "0.25"),
            ("Ana@acme.example", "anthropic", "call", "0.50"),
            ("u-ana", "openai", "call", "9.00"),
            ("u-ana", "anthropic", "subscription", "8.00"),
            ("u-ben", "anthropic", "call", "4.00"),
            ("u-x", "anthropic", "call", "1.00"),
            (None, "anthropic", "call", "1.00"),
        ],
    )
    facts = gathered(lake, tables)
    assert facts.proxied == {
        (hashed_email(ANA), DAYS[0]): Decimal("0.75"),
        (hashed_email(BEN), DAYS[0]): Decimal("4.00"),
    }
    assert facts.cost_center_of(hashed_email(ANA), DAYS[0]) == "CC-100"
    assert facts.cost_center_of(hashed_email(BEN), DAYS[0]) is None
    found = claude_code_evidence(facts.days, facts.proxied, facts.cost_center_of, BypassTolerance())
    (row,) = found.likely_bypass
    assert (row.people, row.estimated_usd, row.notional_usd) == (1, Decimal("3.44"), Decimal("2.69"))
    assert (found.seats.seats, found.seats.notional_usd, found.by_key_usd) == (1, Decimal(30), Decimal("5.005"))


def test_a_day_that_the_log_lacks_is_not_compared(provider: ProviderServer, lake: Lake, tables: Tables) -> None:
    """Rule 4.5: silence of a log that was not read is a missing extract, never bypass."""
    load(provider.anthropic_url, lake)
    assert (gathered(lake, tables).days, gathered(lake, tables).not_compared) == ((), tuple(DAYS))
    logged(lake, tables, DAYS[0], [])
    facts = gathered(lake, tables)
    assert {each.day for each in facts.days} == {DAYS[0]}
    assert facts.not_compared == (DAYS[1], DAYS[2])


# --- the asset -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("", "not configured in tokengov.yaml; nothing was read"),
        ("anthropic: {account: acme}", "not switched on: anthropic.claude_code in tokengov.yaml; nothing was read"),
        ("anthropic: {account: acme, claude_code: true}", "first load"),
    ],
)
def test_the_asset_reads_where_it_is_switched_on(
    provider: ProviderServer, lake: Lake, tmp_path: Path, settings: str, says: str
) -> None:
    (tmp_path / "tokengov.yaml").write_text(f"as_of: 2026-11-05\n{settings}\n", encoding="utf-8")
    asked = len(provider.requests_to(SERVED))
    result = dg.materialize(
        claude_code_assets(dg.DailyPartitionsDefinition("2026-10-01")),
        partition_key="2026-10-01",
        resources={
            "anthropic": reports(provider.anthropic_url),
            "lake": lake,
            "home": Home(path=str(tmp_path)),
        },
    )
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["load"].value == says
    assert len(provider.requests_to(SERVED)) - asked == (1 if says == "first load" else 0)
