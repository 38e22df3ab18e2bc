"""The seeded organisation: cost centers, teams, people, LiteLLM keys, service accounts and provider keys.

Belongs here: who exists, which key is whose, and who should pay for a key on a day (the answer a test expects).
Does not belong here: what they call (`profiles`, `traffic`, `calls`) and the files about them (`documents`).

The organisation is fixed: it does not depend on the seed. It carries one case for every rung of the ladder of
Rule 3.1, and the awkward ones: a team that moved cost center, an engineer who changed team, a deleted key, a key that
is found nowhere, a team without a cost center in LiteLLM, a service key with neither team nor user, and a person
whose key has no team.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from tokengov_pipelines.demo.draws import as_uuid
from tokengov_pipelines.demo.people import ENGINEERS

US_ENTITY: Final = "Fernhill Systems Inc."
DE_ENTITY: Final = "Fernhill Systems GmbH"
FOUNDED: Final = date(2026, 1, 1)
"""Every directory interval opens here unless something changed later."""

SUSPENSE: Final = "CC-900-SUSPENSE"
CENTRAL: Final = "CC-990-CENTRAL"

TEAM_MOVE_DATE: Final = date(2026, 9, 16)
MOVED_TEAM: Final = "mobile"
MOVED_FROM, MOVED_TO = "CC-120", "CC-310"

MOVER_DATE: Final = date(2026, 10, 16)
MOVER: Final = "Ines Moreau"
MOVER_TEAMS: Final = ("checkout", "web")
TEAMLESS_ENGINEER: Final = "Hedda Falk"

DELETED_KEY: Final = "release-bot-old"
DELETED_KEY_DATE: Final = date(2026, 9, 25)
UNKNOWN_KEY: Final = "found-nowhere"
REGISTRY_KEY: Final = "svc-docs-bot"
NO_METADATA_TEAM: Final = "support-tools"


@dataclass(frozen=True)
class CostCenter:
    """A row of the cost-center master."""

    code: str
    name: str
    legal_entity: str


COST_CENTERS: Final = (
    CostCenter("CC-110", "Commerce Engineering", DE_ENTITY),
    CostCenter("CC-120", "Growth and Web", US_ENTITY),
    CostCenter("CC-210", "Data and Machine Learning", DE_ENTITY),
    CostCenter("CC-220", "Core Platform", DE_ENTITY),
    CostCenter("CC-310", "Customer Products", US_ENTITY),
    CostCenter(SUSPENSE, "AI suspense (owned by Core Platform)", US_ENTITY),
    CostCenter(CENTRAL, "AI central", US_ENTITY),
)


@dataclass(frozen=True)
class Zone:
    """A time zone as far as 2026 needs it: minutes east of UTC in summer and after the clocks went back.

    Written out, because the tz database differs between machines and the demo must not.
    """

    name: str
    summer_minutes: int
    winter_minutes: int
    winter_from: date

    def minutes_on(self, day: date) -> int:
        """Offset of a UTC day, in minutes east of UTC."""
        return self.winter_minutes if day >= self.winter_from else self.summer_minutes


BERLIN: Final = Zone("Europe/Berlin", 120, 60, date(2026, 10, 25))
NEW_YORK: Final = Zone("America/New_York", -240, -300, date(2026, 11, 1))
LOS_ANGELES: Final = Zone("America/Los_Angeles", -420, -480, date(2026, 11, 1))
KOLKATA: Final = Zone("Asia/Kolkata", 330, 330, date(2027, 1, 1))


@dataclass(frozen=True)
class Team:
    """One team; `cost_centers` are its directory intervals, `metadata_cost_center` is what LiteLLM shows today."""

    slug: str
    name: str
    zone: Zone
    organization_id: str
    cost_centers: tuple[tuple[date, str], ...]
    metadata_cost_center: str | None
    mix: str

    @property
    def team_id(self) -> str:
        """LiteLLM's identifier of the team."""
        return as_uuid(_digest(f"team:{self.slug}"))

    def cost_center_on(self, day: date) -> str:
        """The directory's cost center of the team on a UTC day."""
        return [code for start, code in self.cost_centers if start <= day][-1]


def _team(slug: str, name: str, zone: Zone, code: str, mix: str, *, metadata: bool = True) -> Team:
    entity = next(c.legal_entity for c in COST_CENTERS if c.code == code)
    organization = "org-fernhill-de" if entity == DE_ENTITY else "org-fernhill-us"
    return Team(slug, name, zone, organization, ((FOUNDED, code),), code if metadata else None, mix)


TEAMS: Final = (
    _team("payments", "Payments", BERLIN, "CC-110", "product"),
    _team("checkout", "Checkout", NEW_YORK, "CC-110", "product"),
    _team("web", "Web", NEW_YORK, "CC-120", "product"),
    Team(
        MOVED_TEAM, "Mobile", LOS_ANGELES, "org-fernhill-us",
        ((FOUNDED, MOVED_FROM), (TEAM_MOVE_DATE, MOVED_TO)), MOVED_TO, "product",
    ),
    _team("data-platform", "Data Platform", BERLIN, "CC-210", "data"),
    _team("ml-research", "ML Research", KOLKATA, "CC-210", "data"),
    _team("core-infra", "Core Infrastructure", BERLIN, "CC-220", "platform"),
    _team(NO_METADATA_TEAM, "Support Tools", LOS_ANGELES, "CC-310", "product", metadata=False),
)  # fmt: skip


@dataclass(frozen=True)
class Engineer:
    """One engineer; `teams` are the directory intervals, `user_id` is what LiteLLM calls the person."""

    name: str
    login: str
    email: str
    user_id: str
    teams: tuple[tuple[date, str], ...]

    def team_on(self, day: date) -> str:
        """Slug of the engineer's team on a UTC day, by the directory."""
        return [slug for start, slug in self.teams if start <= day][-1]


@dataclass(frozen=True)
class ProviderKey:
    """A key at a provider. Role `proxy` is the proxy's own; `other` is used around it."""

    provider: str
    account: str
    workspace: str
    provider_key_id: str
    role: str
    owner_cost_center: str
    valid_from: date = FOUNDED


BYPASS_KEY: Final = 3
PROVIDER_KEYS: Final = (
    ProviderKey("anthropic", "fernhill-prod", "proxy", "apikey_01FernhillProxyA4", "proxy", CENTRAL),
    ProviderKey("openai", "fernhill-prod", "proxy", "key_fernhill_proxy_71", "proxy", CENTRAL),
    ProviderKey("google", "fernhill-llm", "proxy", "projects/fernhill-llm/keys/proxy", "proxy", CENTRAL),
    ProviderKey("anthropic", "fernhill-prod", "data-sandbox", "apikey_01FernhillBatchZ9", "other", "CC-210",
                date(2026, 10, 1)),
)  # fmt: skip


@dataclass(frozen=True)
class Key:
    """One LiteLLM virtual key and how its calls are stamped.

    `kind` is personal, team, service or nightly (batches only). `row_team` and `row_user` are what LiteLLM writes on
    the rows; `table` is where the key is found: live, deleted or nowhere. `weight` is its share of a working day.
    """

    alias: str
    kind: str
    weight: int
    row_team: Team | None
    row_user: str
    zone: Zone
    mix: str
    table: str = "live"
    key_team: Team | None = None
    key_user: str = ""
    active_until: date = date(2027, 1, 1)
    engineer: Engineer | None = None
    key_hash: str = field(default="")

    @property
    def organization_id(self) -> str:
        """LiteLLM stamps '' where there is no organization."""
        return self.row_team.organization_id if self.row_team else ""


@dataclass(frozen=True)
class Organisation:
    """Everything that exists, with stable positions: `keys` are referred to by index in the calls."""

    engineers: tuple[Engineer, ...]
    keys: tuple[Key, ...]

    def key_index(self, alias: str) -> int:
        """Position of a key by its alias."""
        return next(index for index, key in enumerate(self.keys) if key.alias == alias)

    def owner_on(self, key: Key, day: date) -> tuple[str, str]:
        """(cost center, rung) that the ladder of Rule 3.1 must answer for a call of `key` on a UTC day."""
        team = key.row_team or key.key_team
        if team is not None:
            owner = team.cost_center_on(day)
            # The metadata says what holds today; for days before a dated change only the directory answers (Rule 3.4).
            return owner, "team_metadata" if team.metadata_cost_center == owner else "directory_team"
        if key.alias == REGISTRY_KEY:
            return "CC-220", "service_registry"
        if key.engineer is not None:
            return team_named(key.engineer.team_on(day)).cost_center_on(day), "directory_user"
        return SUSPENSE, "suspense"


def team_named(slug: str) -> Team:
    """The team of a slug."""
    return next(team for team in TEAMS if team.slug == slug)


def _digest(text: str) -> str:
    return hashlib.sha256(f"tokengov-demo:{text}".encode()).hexdigest()


def key_hash(alias: str) -> str:
    """What LiteLLM stores of a key: the SHA-256 of a secret that nobody has."""
    return _digest(f"key:{alias}")


def _engineer(name: str, slug: str, index: int) -> Engineer:
    login = name.lower().replace(" ", ".")
    email = f"{login}@example.com"
    user_id = email if index % 2 == 0 else f"usr-{_digest('user:' + login)[:16]}"
    teams = ((FOUNDED, slug), (MOVER_DATE, MOVER_TEAMS[1])) if name == MOVER else ((FOUNDED, slug),)
    return Engineer(name, login.replace(".", "-"), email, user_id, teams)


def _personal_key(engineer: Engineer, index: int) -> Key:
    team = team_named(engineer.teams[0][1])
    weight = 40 + (index * 37) % 120  # some people use it all day, some now and then
    teamless = engineer.name in (MOVER, TEAMLESS_ENGINEER)
    return Key(
        alias=f"{engineer.login}-laptop",
        kind="personal",
        weight=weight,
        row_team=None if teamless else team,
        row_user=engineer.user_id,
        zone=team.zone,
        mix=team.mix,
        key_team=None if teamless else team,
        key_user=engineer.user_id,
        engineer=engineer,
    )


def _shared_keys(mover: Engineer) -> list[Key]:
    default_user = "default_user_id"  # LiteLLM's placeholder: not a person (Rule 3.1)
    keys = [
        Key(f"team-{team.slug}", "team", 60, team, default_user, team.zone, team.mix, "live", team, default_user)
        for team in TEAMS
    ]
    # Handed out by her old team and still used after the move: the key wins, the conflict is listed (Rule 3.7).
    old = team_named(MOVER_TEAMS[0])
    keys.append(Key("ines-moreau-ide", "personal", 25, old, mover.user_id, old.zone, "product", "live", old,
                    mover.user_id, engineer=mover))  # fmt: skip
    services = (
        ("svc-ci-payments", "payments", "service", 150),
        ("svc-ci-infra", "core-infra", "service", 170),
        ("svc-nightly-evals", "ml-research", "nightly", 90),
        ("svc-search-index", "data-platform", "service", 160),
        ("svc-support-triage", "support-tools", "service", 140),
    )
    for alias, slug, kind, weight in services:
        team = team_named(slug)
        mix = "batch" if kind == "nightly" else "service"
        keys.append(Key(alias, kind, weight, team, "", team.zone, mix, "live", team))
    infra = team_named("core-infra")
    keys.append(Key(REGISTRY_KEY, "service", 70, None, "", BERLIN, "service"))
    # Its team was set only shortly before it was deleted, so its rows carry none: the deleted table answers.
    keys.append(Key(DELETED_KEY, "service", 45, None, "", BERLIN, "service", "deleted", infra,
                    active_until=DELETED_KEY_DATE))  # fmt: skip
    keys.append(Key(UNKNOWN_KEY, "service", 20, None, "", NEW_YORK, "unowned", "nowhere"))
    return keys


def build_organisation() -> Organisation:
    """The organisation: 8 teams, 7 cost centers, 60 engineers, 6 service accounts and their keys."""
    people = [(name, slug) for slug, names in ENGINEERS.items() for name in names]
    engineers = tuple(_engineer(name, slug, index) for index, (name, slug) in enumerate(people))
    mover = next(engineer for engineer in engineers if engineer.name == MOVER)
    keys = [_personal_key(engineer, index) for index, engineer in enumerate(engineers)] + _shared_keys(mover)
    return Organisation(engineers, tuple(_with_hash(key) for key in keys))


def _with_hash(key: Key) -> Key:
    return Key(**{**key.__dict__, "key_hash": key_hash(key.alias)})
