"""One row for each key that bypassed the proxy (rules 5.1, 5.2, 5.3, 5.5)."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.unit.domain.bypass_month import (
    ACCOUNT,
    CI_KEY,
    CI_WORKSPACE,
    HAIKU,
    OCTOBER,
    OPUS,
    OWNERS,
    PROXY_KEY,
    PROXY_WORKSPACE,
    RULES,
    SONNET,
    Month,
    oct_,
    proxy_key,
)
from tokengov_pipelines.domain.bypass import coverage
from tokengov_pipelines.domain.bypass_exception import BypassException, KeyIdentity
from tokengov_pipelines.domain.bypass_keys import KeyFacts, KeyLists
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.legs import KeyDecides, KeyRole, RegisteredKey
from tokengov_pipelines.domain.match_result import Component

CI = KeyIdentity.of("anthropic", ACCOUNT, CI_KEY, CI_WORKSPACE)


def month_of(*uses, **fields) -> Month:
    """A month of the uses (day, model, tokens, key id, workspace id)."""
    month = Month(**fields)
    for day, model, tokens, key_id, workspace_id in uses:
        month.used(oct_(day), model, tokens, key_id=key_id, workspace_id=workspace_id)
    return month


def ci_month(**fields) -> Month:
    tokens = {"uncached_input": 2_000_000, "output": 500_000}
    return month_of((3, SONNET, tokens, CI_KEY, CI_WORKSPACE), **fields)


def test_the_example_of_the_rule_book_at_list():
    month = month_of(
        (3, SONNET, {"uncached_input": 2_000_000, "output": 500_000}, CI_KEY, CI_WORKSPACE),
        (4, SONNET, {"uncached_input": 500_000}, None, CI_WORKSPACE),  # Workbench
        (5, HAIKU, {"uncached_input": 1_000_000}, "apikey-unknown", None),
        (5, SONNET, {"uncached_input": 28_000_000}, PROXY_KEY, PROXY_WORKSPACE),
    )
    rows = month.key_rows()
    assert [(row.key_id, row.list_usd, row.evidence) for row in rows] == [
        (CI_KEY, Decimal("13.500000000000"), "E1"),
        (None, Decimal("1.500000000000"), "E2"),
        ("apikey-unknown", Decimal("1.000000000000"), "E1"),
    ]
    states = month.match().states
    assert sum(row.list_usd for row in rows) == states["W5"] - states["W4"] == Decimal("16.00")
    assert coverage(states["W4"], states["W5"]).percentage == Decimal("84.00")


def test_a_key_pays_what_the_provider_billed_for_it():
    """A cell of list 45.00 (30.00 own, 15.00 CI key) billed at 36.00."""
    month = month_of(
        (1, SONNET, {"uncached_input": 10_000_000}, PROXY_KEY, PROXY_WORKSPACE),
        (1, SONNET, {"uncached_input": 5_000_000}, CI_KEY, PROXY_WORKSPACE),
    )
    month.rates[oct_(1), SONNET] = Decimal("0.8")
    (row,) = month.key_rows()
    assert (row.list_usd, row.actual_usd, row.cost_usd) == (Decimal(15), Decimal(12), Decimal(12))
    (at_list,) = month.key_rows(rules=replace(RULES, value="list"))
    assert (at_list.list_usd, at_list.actual_usd, at_list.cost_usd) == (Decimal(15), Decimal(12), Decimal(15))
    assert month.match().components[Component.UNPROXIED] == Decimal(15)


def test_without_a_cost_report_a_key_is_valued_at_list():
    (row,) = ci_month(has_cost_report=False).key_rows()
    assert (row.list_usd, row.actual_usd, row.cost_usd) == (Decimal("13.5"),) * 3


def test_a_row_says_what_was_used_and_when():
    month = month_of(
        (3, SONNET, {"uncached_input": 1_000, "output": 10}, CI_KEY, CI_WORKSPACE),
        (9, SONNET, {"uncached_input": 500}, CI_KEY, CI_WORKSPACE),
        (9, HAIKU, {"cache_read": 7}, CI_KEY, CI_WORKSPACE),
    )
    (row,) = month.key_rows()
    assert (row.first_seen, row.last_seen, row.days_active) == (oct_(3), oct_(9), 2)
    assert row.models == (HAIKU, SONNET)
    assert row.tokens == {"cache_read": 7, "output": 10, "uncached_input": 1_500}
    assert row.largest_day_usd == Decimal("0.003150000000")
    assert row.workspace_id == CI_WORKSPACE


def test_a_tier_has_its_own_price():
    month = Month()
    month.used(oct_(3), SONNET, {"uncached_input": 1_000_000}, key_id=CI_KEY, tier="batch")
    (row,) = month.key_rows()
    assert row.list_usd == Decimal("1.500000000000")


def test_tokens_without_a_price_are_counted_and_cost_nothing_yet():
    month = month_of((3, "claude-new", {"uncached_input": 1_000_000}, CI_KEY, CI_WORKSPACE), has_cost_report=False)
    (row,) = month.key_rows()
    assert (row.cost_usd, row.unpriced_tokens, row.models) == (Decimal(0), 1_000_000, ("claude-new",))


def test_rows_are_sorted_by_cost_and_use_without_a_key_is_a_row_a_workspace():
    month = month_of(
        (1, SONNET, {"uncached_input": 1_000_000}, None, None),
        (1, SONNET, {"uncached_input": 2_000_000}, None, CI_WORKSPACE),
        (1, SONNET, {"uncached_input": 3_000_000}, CI_KEY, CI_WORKSPACE),
        (2, SONNET, {"uncached_input": 1_000_000}, CI_KEY, None),  # the same key, seen without its workspace
    )
    assert [(row.identity.word, row.cost_usd) for row in month.key_rows()] == [
        (CI_KEY, Decimal(12)),
        (f"workspace:{CI_WORKSPACE}", Decimal(6)),
        ("workspace:default", Decimal(3)),
    ]


def test_only_lost_rows_give_no_row_at_all():
    month = Month().busy(lost={3: dict.fromkeys((OPUS, SONNET, HAIKU), 30)})
    assert month.key_rows() == []


def test_a_missing_day_of_the_log_gives_no_row():
    month = Month(missing_log_days=frozenset({oct_(3)})).busy(lost={3: dict.fromkeys((OPUS, SONNET, HAIKU), 100)})
    assert month.key_rows() == []


# --- whose key ---------------------------------------------------------------------------------------------------


def test_a_key_that_becomes_the_proxys_is_listed_with_the_days_before():
    registered = [proxy_key(since=oct_(16))]
    month = month_of(
        (15, SONNET, {"uncached_input": 1_000_000}, PROXY_KEY, PROXY_WORKSPACE),
        (16, SONNET, {"uncached_input": 7_000_000}, PROXY_KEY, PROXY_WORKSPACE),
        registered=registered,
    )
    (row,) = month.key_rows()
    assert (row.list_usd, row.first_seen, row.last_seen, row.days_active) == (Decimal(3), oct_(15), oct_(15), 1)


def test_a_key_that_was_the_proxys_and_is_still_used_is_rotated():
    month = month_of(
        (9, SONNET, {"uncached_input": 7_000_000}, PROXY_KEY, PROXY_WORKSPACE),
        (10, SONNET, {"uncached_input": 1_000_000}, PROXY_KEY, PROXY_WORKSPACE),
        registered=[proxy_key(until=oct_(10))],
    )
    (row,) = month.key_rows()
    assert (row.list_usd, row.action, row.evidence) == (Decimal(3), "rotate", "E1")


def openai_month(**fields) -> Month:
    key = RegisteredKey("openai", ACCOUNT, "key-proxy", KeyRole.PROXY, Interval(oct_(1)), workspace="proj-proxy")
    return Month(provider="openai", registered=[key], decides=KeyDecides.KEY_ID_ELSE_PROJECT, **fields)


def test_where_the_project_decides_use_without_a_key_in_the_proxys_project_is_the_proxys():
    month = openai_month()
    month.used(oct_(1), SONNET, {"output": 1_000}, key_id=None, workspace_id="proj-proxy")
    month.used(oct_(1), SONNET, {"output": 2_000}, key_id=None, workspace_id="proj-lab")
    month.used(oct_(1), SONNET, {"output": 3_000}, key_id="key-x", workspace_id="proj-proxy")
    month.used(oct_(1), SONNET, {"output": 4_000}, key_id=None, workspace_id=None)
    rows = {row.identity.word: (row.evidence, row.action) for row in month.key_rows()}
    assert rows == {
        "workspace:proj-lab": ("E1", "move_to_proxy"),
        "key-x": ("E1", "rotate"),
        "workspace:default": ("E2", "move_to_proxy"),
    }


def test_where_the_key_decides_use_without_a_key_is_console_use_whatever_the_workspace():
    month = month_of((1, SONNET, {"output": 1_000}, None, PROXY_WORKSPACE))
    (row,) = month.key_rows()
    assert (row.evidence, row.action) == ("E2", "register_exception")


def test_a_provider_without_a_proxy_key_is_wholly_unproxied():
    month = month_of((1, SONNET, {"output": 1_000_000}, CI_KEY, CI_WORKSPACE), registered=[])
    (row,) = month.key_rows()
    assert (row.evidence, row.list_usd, row.action) == ("E1", Decimal(15), "move_to_proxy")


@pytest.mark.parametrize(("workspace", "action"), [(PROXY_WORKSPACE, "rotate"), (CI_WORKSPACE, "move_to_proxy")])
def test_a_key_in_the_proxys_own_workspace_is_rotated(workspace, action):
    (row,) = month_of((1, SONNET, {"output": 1_000}, CI_KEY, workspace)).key_rows()
    assert row.action == action


# --- who owns it -------------------------------------------------------------------------------------------------


def registered_ci(owner: str | None, since: int = 1, until: int | None = None) -> RegisteredKey:
    valid = Interval(oct_(since), None if until is None else oct_(until))
    return RegisteredKey(
        "anthropic", ACCOUNT, CI_KEY, KeyRole.OTHER, valid, workspace=CI_WORKSPACE, owner_cost_center=owner
    )


ASKED = replace(
    OWNERS,
    of_workspace=lambda _provider, workspace, _day: {CI_WORKSPACE: "CC-200", None: "CC-250"}.get(workspace),
    of_creator=lambda _provider, person, _day: {"user-1": "CC-300"}.get(person or ""),
)
CREATED = KeyLists(keys={("anthropic", ACCOUNT, CI_KEY): KeyFacts(created_by="Ada L.", created_by_id="user-1")})


@pytest.mark.parametrize(
    ("owner", "invalid", "expected"),
    [
        ("CC-100", set(), ("CC-100", "registry")),
        (None, set(), ("CC-200", "workspace")),
        ("CC-100", {"CC-100"}, ("CC-200", "workspace")),
        ("CC-100", {"CC-100", "CC-200"}, ("CC-300", "created_by")),
        ("CC-100", {"CC-100", "CC-200", "CC-300"}, ("CC-990-CENTRAL", "central")),
    ],
)
def test_the_first_valid_owner_has_the_key(owner, invalid, expected):
    owners = replace(ASKED, valid_cost_center=lambda code, _day: None if code in invalid else code)
    month = ci_month(registered=[proxy_key(), registered_ci(owner)])
    (row,) = month.key_rows(owners=owners, lists=CREATED)
    assert (row.suggested_owner, row.owner_basis) == expected
    assert row.created_by == "Ada L."


def test_a_successor_pays_for_a_closed_cost_center():
    owners = replace(OWNERS, valid_cost_center=lambda code, day: "CC-101" if day >= oct_(3) else code)
    month = ci_month(registered=[proxy_key(), registered_ci("CC-100")])
    (row,) = month.key_rows(owners=owners)
    assert (row.suggested_owner, row.owner_basis) == ("CC-101", "registry")


def test_each_day_is_its_owners():
    registered = [proxy_key(), registered_ci("CC-100", 1, 10), registered_ci("CC-110", 10)]
    month = month_of(
        (9, SONNET, {"uncached_input": 1_000_000}, CI_KEY, CI_WORKSPACE),
        (10, SONNET, {"uncached_input": 2_000_000}, CI_KEY, CI_WORKSPACE),
        registered=registered,
    )
    (row,) = month.key_rows()
    assert row.owned_usd == {"CC-100": Decimal(3), "CC-110": Decimal(6)}
    assert (row.suggested_owner, sum(row.owned_usd.values())) == ("CC-110", row.cost_usd)


def test_the_default_workspace_may_have_an_owner_like_any_other():
    (row,) = month_of((1, SONNET, {"output": 1_000}, None, None)).key_rows(owners=ASKED)
    assert (row.suggested_owner, row.owner_basis) == ("CC-250", "workspace")


def test_the_key_list_says_the_workspace_where_the_report_does_not():
    facts = KeyFacts(key_name="ci-runner", workspace_id=CI_WORKSPACE)
    lists = KeyLists({("anthropic", ACCOUNT, CI_KEY): facts}, {("anthropic", CI_WORKSPACE): "ci-lab"})
    (row,) = month_of((1, SONNET, {"output": 1_000}, CI_KEY, None)).key_rows(owners=ASKED, lists=lists)
    assert (row.workspace_name, row.owner_basis) == ("ci-lab", "workspace")
    assert row.key_label == "anthropic, workspace ci-lab, key ...nner"


@pytest.mark.parametrize(
    ("name", "person", "shown"),
    [("Ada L.", "user-1", "Ada L."), ("ada@example.com", "user-1", "user-1"), (None, "ada@example.com", None)],
)
def test_no_field_holds_an_e_mail(name, person, shown):
    facts = KeyFacts(key_name="ada@example.com laptop", created_by=name, created_by_id=person)
    (row,) = ci_month().key_rows(lists=KeyLists({("anthropic", ACCOUNT, CI_KEY): facts}))
    assert row.created_by == shown
    assert row.key_name == "(e-mail) laptop"
    assert "example.com" not in repr(row)


# --- since when, and what is to be done --------------------------------------------------------------------------


def test_a_key_of_an_earlier_month_is_not_new():
    (new,) = ci_month().key_rows()
    assert (new.status, new.first_seen, new.due_date) == ("new", oct_(3), oct_(17))
    since = dt.date(2026, 8, 20)
    (known,) = ci_month().key_rows(known_since={CI: since})
    assert (known.status, known.first_seen, known.due_date) == ("open", since, dt.date(2026, 9, 3))


def test_the_last_thirty_days_reach_back_before_the_month():
    month = ci_month()
    month.used(dt.date(2026, 9, 15), SONNET, {"uncached_input": 1_000_000}, key_id=CI_KEY, workspace_id=CI_WORKSPACE)
    month.used(dt.date(2026, 9, 16), SONNET, {"uncached_input": 1_000_000}, key_id=CI_KEY, workspace_id=CI_WORKSPACE)
    (row,) = month.key_rows(rules=replace(RULES, as_of=dt.date(2026, 10, 15)))
    assert row.cost_usd == Decimal("13.5")
    assert row.cost_last_30d_usd == Decimal("16.5")  # 16 September to 15 October
    assert (row.first_seen, row.status, row.days_active) == (dt.date(2026, 9, 15), "open", 1)


def test_a_key_that_was_used_only_before_the_month_has_no_row():
    month = Month()
    month.used(dt.date(2026, 9, 30), SONNET, {"uncached_input": 1}, key_id=CI_KEY)
    assert month.key_rows() == []


def exception(**more) -> BypassException:
    fields = {"granted_on": oct_(5), "last_day": dt.date(2026, 11, 30)} | more
    return BypassException(7, CI, "vendor SDK", "Ada", "Grace", **fields)


def test_an_exception_changes_the_alert_and_no_figure():
    (plain,) = ci_month().key_rows()
    (row,) = ci_month().key_rows(exceptions=[exception()])
    assert (row.status, row.raises_alert, row.due_date) == ("excepted", False, dt.date(2026, 11, 30))
    assert (row.cost_usd, row.list_usd, row.evidence) == (plain.cost_usd, plain.list_usd, plain.evidence)
    states = ci_month().match().states
    assert coverage(states["W4"], states["W5"]).percentage == Decimal("0.00")


def test_an_exception_that_is_over_says_so():
    (row,) = ci_month().key_rows(exceptions=[exception(last_day=oct_(20))])
    assert (row.status, row.raises_alert, row.due_date) == ("exception_expired", True, oct_(20))


def test_an_exception_of_today_speaks_for_a_month_that_is_over():
    granted = exception(granted_on=dt.date(2026, 11, 5))
    assert [row.status for row in ci_month().key_rows(exceptions=[granted])] == ["excepted"]
    later = replace(RULES, exceptions_on=dt.date(2026, 12, 24))
    assert [row.status for row in ci_month().key_rows(exceptions=[granted], rules=later)] == ["exception_expired"]


def test_an_exception_that_was_withdrawn_leaves_the_key_open():
    (row,) = ci_month().key_rows(exceptions=[exception(withdrawn_on=oct_(20))], known_since={CI: dt.date(2026, 9, 1)})
    assert row.status == "open"


def test_an_exception_is_for_one_key():
    other = replace(exception(), key=KeyIdentity.of("anthropic", ACCOUNT, None, CI_WORKSPACE))
    (row,) = ci_month().key_rows(exceptions=[other])
    assert row.status == "new"


def test_console_use_with_an_exception_moves_before_it_ends():
    month = month_of((1, SONNET, {"output": 1_000}, None, None))
    console = replace(exception(), key=KeyIdentity.of("anthropic", ACCOUNT, None, None))
    assert [row.action for row in month.key_rows()] == ["register_exception"]
    assert [row.action for row in month.key_rows(exceptions=[console])] == ["move_to_proxy"]


def test_a_month_is_the_month_of_the_rows():
    assert all(OCTOBER.contains(row.last_seen) for row in ci_month().key_rows())
