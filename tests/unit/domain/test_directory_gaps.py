"""Whom the directory does not answer for: now, and before the end of next month."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest

from tokengov_pipelines.domain.directory_gaps import Caller, DirectoryDays, ProxyEntities, orphans, uncovered

TODAY = dt.date(2026, 11, 5)
START = dt.date(2026, 1, 1)
END = dt.date(2026, 12, 10)


def center(code: str, end: dt.date | None = None, successor: str | None = None) -> dict[str, Any]:
    return {"code": code, "valid_from": START, "valid_to": end, "successor": successor}


def team(name: str, code: str, end: dt.date | None = None) -> dict[str, Any]:
    return {"team_id": name, "cost_center": code, "valid_from": START, "valid_to": end}


def user(email: str, user_id: str, team_id: str, end: dt.date | None = None) -> dict[str, Any]:
    return {"email": email, "user_id": user_id, "team_id": team_id, "valid_from": START, "valid_to": end}


def directory(**tables: list[dict[str, Any]]) -> DirectoryDays:
    empty: Mapping[str, list[dict[str, Any]]] = {
        name: [] for name in ("cost_centers", "teams", "users", "service_accounts")
    }
    return DirectoryDays({**empty, **tables}, 5)


BASE = {
    "cost_centers": [center("CC-1"), center("CC-2", END), center("CC-3", END, "CC-1")],
    "teams": [
        team("one", "CC-1"),
        team("two", "CC-2"),
        team("three", "CC-3"),
        team("gone", "CC-1", START + dt.timedelta(1)),
    ],
    "users": [user("ana@example.com", "u-1", "one"), user("bo@example.com", "u-2", "two", END)],
    "service_accounts": [{"key_hash": "f" * 64, "owner_cost_center": "CC-1", "valid_from": START, "valid_to": None}],
}


@pytest.mark.parametrize(
    ("caller", "pays"),
    [
        (Caller("one", None, None), "CC-1"),
        (Caller("gone", None, None), None),
        (Caller("unknown", None, None), None),
        (Caller(None, "u-1", None), "CC-1"),
        (Caller(None, "ANA@example.com", None), "CC-1"),
        (Caller(None, "sso-7", None), "CC-1"),  # the proxy's user table knows the e-mail
        (Caller("unknown", "u-1", None), "CC-1"),  # the next rung
        (Caller(None, None, "f" * 64), "CC-1"),
        (Caller(None, None, "a" * 64), "CC-1"),  # the key's team
        (Caller(None, None, "b" * 64), None),
        (Caller("named", None, None), "CC-2"),  # the team's metadata
        (Caller("misnamed", None, None), None),
        (Caller(None, None, None), None),
    ],
)
def test_the_rungs_are_asked_in_order(caller: Caller, pays: str | None) -> None:
    entities = ProxyEntities(
        {"named": "CC-2", "misnamed": "CC-77"}, {"a" * 64: ("one", None)}, {"sso-7": "ana@example.com"}
    )
    assert directory(**BASE).pays(caller, entities, TODAY) == pays


def test_callers_that_nobody_pays_for_are_listed_once_by_what_would_be_entered() -> None:
    callers = [
        Caller("x", "u", "c" * 64),
        Caller("x", None, "d" * 64),
        Caller(None, None, "e" * 64),
        Caller("one", None, None),
    ]
    found = uncovered(directory(**BASE), callers, ProxyEntities(), TODAY)
    assert [str(caller) for caller in found] == ["key eeeeeeeeeeee", "team x"]


def test_a_cost_center_that_ends_soon_without_a_successor() -> None:
    days = directory(**BASE)
    assert days.ending(END - dt.timedelta(days=30), 30) == [("CC-2", END)]
    assert days.ending(END - dt.timedelta(days=31), 30) == []
    assert days.ending(END, 30) == []
    again = [center("CC-2", END), {**center("CC-2"), "valid_from": END}]
    assert directory(cost_centers=again).ending(END - dt.timedelta(days=1), 30) == []


def test_orphans_are_those_who_lose_their_payer_before_next_month_ends() -> None:
    callers = [Caller(name, None, None) for name in ("one", "two", "three", "gone")]
    found = orphans(directory(**BASE), [*callers, Caller(None, "u-2", None)], ProxyEntities(), TODAY)
    assert [(str(caller), day) for caller, day in found] == [("team two", END), ("user u-2", END)]
    assert orphans(directory(**BASE), callers, ProxyEntities(), dt.date(2026, 10, 31)) == []


def test_a_successor_is_followed_through_its_own_end_and_only_so_far() -> None:
    centers = [center("A", TODAY, "B"), center("B", TODAY, "C"), center("C")]
    rows = {"cost_centers": centers, "teams": [team("t", "A")]}
    caller, nobody = Caller("t", None, None), ProxyEntities()
    assert directory(**rows).pays(caller, nobody, TODAY) == "C"
    short = DirectoryDays({"users": [], "service_accounts": [], **rows}, 1)
    assert short.pays(caller, nobody, TODAY) is None
    circle = directory(cost_centers=[center("A", TODAY, "B"), center("B", TODAY, "A")], teams=[team("t", "A")])
    assert circle.pays(caller, nobody, TODAY) is None
