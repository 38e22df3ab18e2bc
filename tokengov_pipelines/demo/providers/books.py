"""What the providers know: metered usage, its cost, keys and people, as plain immutable data.

Belongs here: the cells that every report is summed from, and books with other values for a second read. Does not belong
here: how a provider shapes its answers (`anthropic`, `openai`), how books are kept in a file (`books_file`) and where
the demo's figures come from (`demo.provider_books`).

Amounts are exact USD; days are UTC days. One set of books serves both generations of a provider's reports, so they
agree by construction.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

from tokengov_pipelines.domain.money import exact_product

ANTHROPIC, OPENAI = "anthropic", "openai"


@dataclass(frozen=True)
class UsageCell:
    """Metered usage of one UTC day, key, workspace, model and tier.

    `workspace_id` is an OpenAI project's id at OpenAI. `kind` is OpenAI's usage endpoint; everything with tokens of a
    conversation is `completions`. The five token counts do not overlap (input without what the cache served and
    stored). `units` is what a kind counts that is no token: images, characters, seconds, bytes, sessions or calls.
    """

    day: date
    provider: str
    account: str
    key_id: str | None
    workspace_id: str | None
    model: str | None
    service_tier: str | None = "standard"
    context_window: str | None = None
    inference_geo: str | None = None
    speed: str | None = None
    user_id: str | None = None
    kind: str = "completions"
    image_size: str | None = None
    image_source: str | None = None
    uncached_input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    requests: int = 0
    web_searches: int = 0
    units: int = 0


COUNTS = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "requests", "web_searches",
          "units")  # fmt: skip
"""The fields of a usage cell that are added up; all others describe the cell."""


@dataclass(frozen=True)
class CostCell:
    """What one component of a day's usage costs: `amount` after discounts, `list_amount` before, both exact USD.

    `token_type` is one of the five counts of `UsageCell`, None for anything but tokens. `line_item` is the provider's
    own text: Anthropic's description, OpenAI's line item.
    """

    day: date
    provider: str
    account: str
    key_id: str | None
    workspace_id: str | None
    model: str | None
    line_item: str
    amount: Decimal
    list_amount: Decimal
    cost_type: str = "tokens"
    token_type: str | None = None
    service_tier: str | None = "standard"
    context_window: str | None = None
    inference_geo: str | None = None
    speed: str | None = None
    quantity: Decimal | None = None
    quantity_unit: str | None = None


@dataclass(frozen=True)
class ApiKey:
    """A key as the provider lists it: never the secret, only a hint of it.

    The owner is a user or a service account of the same provider, or unknown. `owner_has_access` is False for an owner
    who has left the project; OpenAI leaves such keys out unless asked for all.
    """

    provider: str
    id: str
    name: str
    hint: str
    workspace_id: str | None
    created_at: datetime
    status: str = "active"
    created_by: str | None = None
    owner_type: str | None = None
    owner_id: str | None = None
    owner_has_access: bool = True
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True)
class Workspace:
    """An Anthropic workspace or an OpenAI project.

    Anthropic lists its default workspace only where it is asked for, and the legacy reports do not name it.
    """

    provider: str
    id: str
    name: str
    created_at: datetime
    archived_at: datetime | None = None
    is_default: bool = False


@dataclass(frozen=True)
class User:
    """A person with access to a provider's console."""

    provider: str
    id: str
    email: str
    name: str
    role: str
    added_at: datetime


@dataclass(frozen=True)
class ServiceAccount:
    """An identity that is no person; at OpenAI it belongs to a project."""

    provider: str
    id: str
    name: str
    role: str
    created_at: datetime
    workspace_id: str | None = None


@dataclass(frozen=True)
class ClaudeCodeCell:
    """What one person or key used of one model in Claude Code on a UTC day; `estimated_cost` is exact USD.

    Either `email` or `api_key_name` is there. Without a model there were sessions and no call.
    """

    day: date
    provider: str
    email: str | None
    model: str | None
    estimated_cost: Decimal
    api_key_name: str | None = None
    customer_type: str = "api"
    terminal_type: str = "vscode"
    is_remote: bool | None = None
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_creation: int = 0


@dataclass(frozen=True)
class ProviderBooks:
    """Everything the providers know at one moment. `refreshed_at` is when the reports were last refreshed (UTC)."""

    usage: tuple[UsageCell, ...] = ()
    costs: tuple[CostCell, ...] = ()
    keys: tuple[ApiKey, ...] = ()
    workspaces: tuple[Workspace, ...] = ()
    users: tuple[User, ...] = ()
    service_accounts: tuple[ServiceAccount, ...] = ()
    refreshed_at: datetime | None = None
    claude_code: tuple[ClaudeCodeCell, ...] = ()

    def of(self, provider: str) -> "ProviderBooks":
        """The same books with one provider's entries only."""
        return ProviderBooks(
            usage=tuple(cell for cell in self.usage if cell.provider == provider),
            costs=tuple(cell for cell in self.costs if cell.provider == provider),
            keys=tuple(key for key in self.keys if key.provider == provider),
            workspaces=tuple(workspace for workspace in self.workspaces if workspace.provider == provider),
            users=tuple(user for user in self.users if user.provider == provider),
            service_accounts=tuple(account for account in self.service_accounts if account.provider == provider),
            refreshed_at=self.refreshed_at,
            claude_code=tuple(cell for cell in self.claude_code if cell.provider == provider),
        )

    def revised(
        self, provider: str, day: date, *, factor: int = 2, refreshed_at: datetime | None = None
    ) -> "ProviderBooks":
        """Books for a second read: one day of a provider at `factor` times its counts and amounts; 0 takes it away.

        With another `refreshed_at` the reports count as refreshed, and cursors handed out before are expired.
        """
        return replace(
            self,
            usage=tuple(
                _scaled(cell, factor) if (cell.provider, cell.day) == (provider, day) else cell
                for cell in self.usage
                if factor or (cell.provider, cell.day) != (provider, day)
            ),
            costs=tuple(
                _scaled_cost(cell, factor) if (cell.provider, cell.day) == (provider, day) else cell
                for cell in self.costs
                if factor or (cell.provider, cell.day) != (provider, day)
            ),
            refreshed_at=refreshed_at or self.refreshed_at,
        )


def _scaled(cell: UsageCell, factor: int) -> UsageCell:
    counts = {name: getattr(cell, name) * factor for name in COUNTS}
    return replace(cell, **counts)


def _scaled_cost(cell: CostCell, factor: int) -> CostCell:
    return replace(
        cell,
        amount=exact_product(cell.amount, factor),
        list_amount=exact_product(cell.list_amount, factor),
        quantity=None if cell.quantity is None else exact_product(cell.quantity, factor),
    )
