"""The organisation: its shape, and who must pay for which key."""

from datetime import date

import pytest

from tokengov_pipelines.demo.organisation import (
    COST_CENTERS,
    DELETED_KEY,
    MOVER,
    REGISTRY_KEY,
    SUSPENSE,
    TEAMS,
    UNKNOWN_KEY,
    Organisation,
    build_organisation,
)


@pytest.fixture(scope="module")
def organisation() -> Organisation:
    return build_organisation()


def test_the_shape_of_the_company(organisation: Organisation) -> None:
    assert len(TEAMS) == 8
    assert len([c for c in COST_CENTERS if not c.code.startswith("CC-9")]) == 5
    assert {c.legal_entity for c in COST_CENTERS} == {"Fernhill Systems Inc.", "Fernhill Systems GmbH"}
    assert len(organisation.engineers) == 60
    assert len({engineer.email for engineer in organisation.engineers}) == 60
    assert all(engineer.email.endswith("@example.com") for engineer in organisation.engineers)
    assert len({team.zone.name for team in TEAMS}) == 4


def test_every_engineer_has_a_key_and_no_two_keys_are_one(organisation: Organisation) -> None:
    personal = [key for key in organisation.keys if key.alias.endswith("-laptop")]
    assert len(personal) == 60
    assert len({key.key_hash for key in organisation.keys}) == len(organisation.keys)
    services = [key for key in organisation.keys if key.alias.startswith("svc-")]
    assert len(services) == 6


@pytest.mark.parametrize(
    ("alias", "day", "expected"),
    [
        ("marlene-vogt-laptop", date(2026, 8, 1), ("CC-110", "team_metadata")),
        ("team-support-tools", date(2026, 8, 1), ("CC-310", "directory_team")),
        ("team-mobile", date(2026, 9, 15), ("CC-120", "directory_team")),
        ("team-mobile", date(2026, 9, 16), ("CC-310", "team_metadata")),
        (REGISTRY_KEY, date(2026, 8, 1), ("CC-220", "service_registry")),
        ("hedda-falk-laptop", date(2026, 8, 1), ("CC-210", "directory_user")),
        ("ines-moreau-laptop", date(2026, 10, 15), ("CC-110", "directory_user")),
        ("ines-moreau-laptop", date(2026, 10, 16), ("CC-120", "directory_user")),
        ("ines-moreau-ide", date(2026, 10, 16), ("CC-110", "team_metadata")),
        (DELETED_KEY, date(2026, 9, 1), ("CC-220", "team_metadata")),
        (UNKNOWN_KEY, date(2026, 9, 1), (SUSPENSE, "suspense")),
    ],
)
def test_the_ladder_has_a_case_for_every_rung(
    organisation: Organisation, alias: str, day: date, expected: tuple[str, str]
) -> None:
    assert organisation.owner_on(organisation.keys[organisation.key_index(alias)], day) == expected


def test_the_awkward_keys_are_stamped_as_litellm_stamps_them(organisation: Organisation) -> None:
    by_alias = {key.alias: key for key in organisation.keys}
    deleted = by_alias[DELETED_KEY]
    assert (deleted.table, deleted.row_team) == ("deleted", None)
    assert deleted.key_team is not None
    assert by_alias[UNKNOWN_KEY].table == "nowhere"
    assert by_alias["team-web"].row_user == "default_user_id"
    mover = next(engineer for engineer in organisation.engineers if engineer.name == MOVER)
    assert [slug for _, slug in mover.teams] == ["checkout", "web"]
