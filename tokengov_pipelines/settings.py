"""What an installation may set: `tokengov.yaml`, `policy.yaml` and the environment, validated by pydantic.

Belongs here: the shape, defaults and error texts of every setting, and where an installation keeps its files.
Does not belong here: the keys of policy.yaml (`policy`), connections to outside systems (`resources`) and anything
secret: secrets come from the environment only and are never stored in a settings object that is printed.
"""

import datetime as dt
import os
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tokengov_pipelines.delivery_settings import Deliveries
from tokengov_pipelines.policy import Policy

M = TypeVar("M", bound=BaseModel)

HOME_VARIABLE = "TOKENGOV_HOME"
LITELLM_URL_VARIABLE = "TOKENGOV_LITELLM_URL"
LEDGER_URL_VARIABLE = "TOKENGOV_LEDGER_URL"
DAGSTER_POSTGRES_URL_VARIABLE = "TOKENGOV_DAGSTER_POSTGRES_URL"
ANTHROPIC_KEY_VARIABLE = "TOKENGOV_ANTHROPIC_ADMIN_KEY"
OPENAI_KEY_VARIABLE = "TOKENGOV_OPENAI_ADMIN_KEY"
GITHUB_TOKEN_VARIABLE = "TOKENGOV_GITHUB_TOKEN"  # noqa: S105 - the name of a variable, not a secret
GITHUB_APP_KEY_VARIABLE = "TOKENGOV_GITHUB_APP_PRIVATE_KEY"
ALERT_URLS_VARIABLE = "TOKENGOV_ALERT_URLS"


def base_url_variable(source: str) -> str:
    """The variable that names another base URL of a source than tokengov.yaml does: a gateway, or the demo's server."""
    return f"TOKENGOV_{source.upper()}_BASE_URL"


class SettingsError(ValueError):
    """A settings file that cannot be used; the text names the file, the field and the fix."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LiteLLMSettings(_Strict):
    """How the proxy's Postgres is read. The connection URL is a secret: environment only."""

    reread_days: int = Field(
        default=7, ge=1, le=60, description="trailing day partitions each daily run re-reads whole"
    )
    statement_timeout_seconds: int = Field(default=900, ge=1)


class DirectorySettings(_Strict):
    """Where the organisation's CSV files are (any fsspec URL; relative to the home) and which schema they follow."""

    url: str = "directory"
    schema_version: Literal[1] = 1


class InvoiceSettings(_Strict):
    """The drop folder of provider invoices (any fsspec URL; relative to the home)."""

    url: str = "invoices"


class PriceSettings(_Strict):
    """The folder of contract prices and additional model names (any fsspec URL; relative to the home)."""

    url: str = "prices"


class CloudBillSettings(_Strict):
    """The drop folder of the clouds' bills (any fsspec URL; relative to the home), a sub-folder a source."""

    url: str = "cloud_bills"
    token_units: dict[str, int] = Field(
        default_factory=dict, description="tokens in a unit that does not say so itself, such as Units: 1000000"
    )


class AnthropicSettings(_Strict):
    """Anthropic's usage and cost reports and key lists. The admin key is a secret: environment only."""

    account: str = Field(default="default", description="what the organisation is called in tables and files")
    base_url: str = "https://api.anthropic.com"
    report: Literal["analytics", "legacy"] = Field(
        default="analytics", description="which generation of report endpoints the organisation has"
    )
    claude_code: bool = Field(
        default=False, description="read Claude Code analytics (data about persons) as evidence of bypass (Rule 5.1)"
    )
    reread_days: int = Field(default=35, ge=1, le=365, description="trailing days each daily run re-reads (Rule 2.3)")


class OpenAISettings(_Strict):
    """OpenAI's usage and cost reports and key lists. The admin key is a secret: environment only."""

    account: str = Field(default="default", description="what the organisation is called in tables and files")
    base_url: str = "https://api.openai.com/v1"
    reread_days: int = Field(default=35, ge=1, le=365, description="trailing days each daily run re-reads (Rule 2.3)")


class GitHubSettings(_Strict):
    """Which repositories' merged pull requests are counted. Token and App key are secrets: environment only."""

    base_url: str = Field(default="https://api.github.com", description="GitHub Enterprise: https://HOST/api/v3")
    repositories: tuple[str, ...] = Field(default=(), description="owner/name, one each")
    organization: str | None = Field(default=None, description="all repositories of this organisation as well")
    app_id: int | None = None
    installation_id: int | None = None
    overlap_hours: int = Field(default=48, ge=1, description="how far a listing goes back behind the last one")
    since: dt.date | None = Field(default=None, description="pull requests last updated before this day are left out")


class AlertSettings(_Strict):
    """When an alert is raised. Where it goes is a secret (Apprise URLs): environment only."""

    stale_after_hours: int = Field(default=26, ge=1, description="a source not read for so long is stale")


class ScheduleSettings(_Strict):
    """Off unless switched on, so that starting the UI never starts work by itself."""

    enabled: bool = False
    hourly_minute: int = Field(default=5, ge=0, le=59, description="when the running day is read, every hour")
    daily_hour_utc: int = Field(default=3, ge=0, le=23)
    monthly_day: int = Field(default=4, ge=1, le=28)


class Settings(_Strict):
    """The content of `tokengov.yaml`."""

    log_start: dt.date = dt.date(2026, 1, 1)
    books_start: str = Field(default="2026-01", pattern=r"^\d{4}-(0[1-9]|1[0-2])$")
    as_of: dt.date | dt.datetime | None = Field(
        default=None, description="a fixed present moment (UTC; a date means its midnight) for demos and re-performance"
    )
    lake_url: str = "lake"
    warehouse_lock_seconds: int = Field(default=600, ge=1)
    litellm: LiteLLMSettings = LiteLLMSettings()
    anthropic: AnthropicSettings | None = Field(default=None, description="absent: this source is not configured")
    openai: OpenAISettings | None = Field(default=None, description="absent: this source is not configured")
    github: GitHubSettings | None = Field(default=None, description="absent: this source is not configured")
    alerts: AlertSettings = AlertSettings()
    directory: DirectorySettings = DirectorySettings()
    invoices: InvoiceSettings = InvoiceSettings()
    prices: PriceSettings = PriceSettings()
    cloud_bills: CloudBillSettings | None = Field(default=None, description="absent: this source is not configured")
    deliveries: Deliveries = Field(default=(), description="where closed packs go (docs/delivery.md)")
    schedules: ScheduleSettings = ScheduleSettings()

    def today(self) -> dt.date:
        """The accounting day that has not ended yet (UTC)."""
        return self.now().date()

    def now(self) -> dt.datetime:
        """The present moment (UTC): `as_of` where it is fixed (a day means its midnight), else the clock's."""
        if isinstance(self.as_of, dt.datetime):
            return self.as_of.astimezone(dt.UTC) if self.as_of.tzinfo else self.as_of.replace(tzinfo=dt.UTC)
        if self.as_of is not None:
            return dt.datetime.combine(self.as_of, dt.time(), dt.UTC)
        return dt.datetime.now(dt.UTC)


class Installation(BaseModel):
    """One home folder with its settings and policy; every path of the product is derived here."""

    model_config = ConfigDict(frozen=True)

    home: Path
    settings: Settings = Settings()
    policy: Policy = Policy()

    def resolve(self, url: str) -> str:
        """A path of tokengov.yaml as an absolute path under the home; URLs with a scheme stay as they are."""
        return url if "://" in url else str((self.home / url).resolve())

    @property
    def lake_url(self) -> str:
        """Root of the lake."""
        return self.resolve(self.settings.lake_url)

    @property
    def tables_dir(self) -> Path:
        """Derived tables as Parquet (as known now)."""
        return self.home / "tables"

    @property
    def packs_dir(self) -> Path:
        """Finance packs (as closed)."""
        return self.home / "packs"

    @property
    def dagster_home(self) -> Path:
        """Dagster's instance folder."""
        return self.home / "dagster"

    @property
    def ledger_url(self) -> str:
        """The ledger's database: `TOKENGOV_LEDGER_URL`, else SQLite in the home."""
        return os.environ.get(LEDGER_URL_VARIABLE) or f"sqlite:///{self.home / 'ledger.db'}"


def _read_yaml(path: Path, model: type[M]) -> M:
    if not path.exists():
        return model()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f"line {mark.line + 1}: " if mark else ""
        message = f"{path.name} is not valid YAML: {line}{problem or 'it cannot be read'}. Fix: correct that line."
        raise SettingsError(message) from error
    if not isinstance(content, dict):
        message = f"{path.name}: this is no list of keys and values. Fix: write one `key: value` a line."
        raise SettingsError(message)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [f"{path.name}: {'.'.join(map(str, item['loc']))}: {_what(item)}." for item in error.errors()]
        raise SettingsError("\n".join(f"{line} Fix: correct or remove this key." for line in lines)) from error


def _what(item: Any) -> str:
    return "there is no such key" if item["type"] == "extra_forbidden" else str(item["msg"])


def _with_base_urls(settings: Settings) -> Settings:
    """The settings with the base URLs that the environment names in place of those of tokengov.yaml."""
    changed = {}
    for source in ("anthropic", "openai", "github"):
        section, url = getattr(settings, source), os.environ.get(base_url_variable(source))
        if section is not None and url:
            changed[source] = section.model_copy(update={"base_url": url})
    return settings.model_copy(update=changed)


def load_installation(home: Path | str | None = None) -> Installation:
    """The installation at `home`, else at `$TOKENGOV_HOME`, else at `./home`; missing files mean defaults.

    Raises:
        SettingsError: a file is not YAML, or a key is unknown or out of range.
    """
    root = Path(home or os.environ.get(HOME_VARIABLE) or "home").expanduser().resolve()
    return Installation(
        home=root,
        settings=_with_base_urls(_read_yaml(root / "tokengov.yaml", Settings)),
        policy=_read_yaml(root / "policy.yaml", Policy),
    )
