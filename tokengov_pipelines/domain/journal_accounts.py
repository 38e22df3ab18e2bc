"""Which general-ledger account a journal line posts to, and which legal entity is invoiced (Rule 6.5).

Belongs here: the accounts of gl_accounts.csv over the defaults of policy.yaml, the entity that a provider invoices, and
the short code of an entity. Does not belong here: the file's checks (`directory`) and the entries (`journal`).
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypedDict

_CODE_LENGTH: Final = 8
_CODE_LETTERS: Final = 4


class AccountRole(StrEnum):
    """What an account is used for; the value is its column in gl_accounts.csv and its key in policy.yaml."""

    EXPENSE = "expense_account"
    CLEARING = "clearing_account"
    PREPAID = "prepaid_account"
    ACCRUED = "accrued_account"
    DUE_FROM = "due_from_account"
    DUE_TO = "due_to_account"
    INPUT_TAX = "input_tax_account"


class GlAccountRow(TypedDict):
    """A row of `raw/directory_gl_accounts`; an account that is None is the default of policy.yaml."""

    legal_entity: str
    provider: str
    expense_account: str | None
    clearing_account: str | None
    prepaid_account: str | None
    accrued_account: str | None
    due_from_account: str | None
    due_to_account: str | None
    input_tax_account: str | None
    valid_from: dt.date
    valid_to: dt.date | None


@dataclass(frozen=True)
class GlAccounts:
    """The accounts of one legal entity for one provider, as the entity's chart numbers them; empty is not stated.

    `clearing_account` is the one that payables debits when it books the invoice, so that it nets to zero. The names of
    the defaults are empty: they hold for every entity and provider.
    """

    legal_entity: str = ""
    provider: str = ""
    expense_account: str = ""
    clearing_account: str = ""
    prepaid_account: str = ""
    accrued_account: str = ""
    due_from_account: str = ""
    due_to_account: str = ""
    input_tax_account: str = ""

    def account(self, role: AccountRole) -> str:
        """The account of a role; empty where it is not stated."""
        value: str = getattr(self, role.value)
        return value


DEFAULT_ACCOUNTS: Final = GlAccounts(
    expense_account="6420",
    clearing_account="2150",
    prepaid_account="1450",
    accrued_account="2160",
    due_from_account="1850",
    due_to_account="2850",
    input_tax_account="1460",
)
"""The accounts where neither policy.yaml nor gl_accounts.csv names others (rule book 0.2 names the first two)."""


@dataclass(frozen=True)
class AccountBook:
    """gl_accounts.csv of a month over the defaults: an account that a row leaves empty is the default's."""

    rows: Mapping[tuple[str, str], GlAccounts] = field(default_factory=dict)
    defaults: GlAccounts = DEFAULT_ACCOUNTS

    def account(self, role: AccountRole, legal_entity: str, provider: str) -> str:
        """The account that the entity posts the provider's `role` to; empty where nobody named one."""
        row = self.rows.get((legal_entity, provider))
        return (row.account(role) if row else "") or self.defaults.account(role)


def account_book(rows: Iterable[GlAccountRow], day: dt.date, defaults: GlAccounts = DEFAULT_ACCOUNTS) -> AccountBook:
    """The accounts in force on `day` (the last day of the posted month): rows of [valid_from, valid_to) over defaults.

    The directory's load has seen to it that one (legal entity, provider) has one row on any day.
    """
    valid = [row for row in rows if row["valid_from"] <= day and (row["valid_to"] is None or day < row["valid_to"])]
    return AccountBook(
        {
            (row["legal_entity"], row["provider"]): GlAccounts(
                legal_entity=row["legal_entity"],
                provider=row["provider"],
                expense_account=row["expense_account"] or "",
                clearing_account=row["clearing_account"] or "",
                prepaid_account=row["prepaid_account"] or "",
                accrued_account=row["accrued_account"] or "",
                due_from_account=row["due_from_account"] or "",
                due_to_account=row["due_to_account"] or "",
                input_tax_account=row["input_tax_account"] or "",
            )
            for row in valid
        },
        defaults,
    )


@dataclass(frozen=True)
class JournalPolicy:
    """What the journal needs besides the charges.

    `invoiced_entity` is the legal entity that providers invoice (the central cost center's), `invoiced_entities` names
    another for single providers. `prepaid` holds the providers in prepaid mode (Rule 4.9). `held_accruals` holds the
    accrual documents of bills over several months: they are not reversed on day 1 of the next month but when their
    invoice posts (Rule 2.2).
    """

    functional_currency: str
    invoiced_entity: str
    accounts: AccountBook = AccountBook()
    invoiced_entities: Mapping[str, str] = field(default_factory=dict)
    prepaid: frozenset[str] = frozenset()
    held_accruals: frozenset[str] = frozenset()

    def payer(self, provider: str) -> str:
        """The legal entity that the provider invoices; empty where none is known."""
        return self.invoiced_entities.get(provider, self.invoiced_entity)


def entity_code(legal_entity: str) -> str:
    """Eight letters and digits that name a legal entity in an external id: 'Acme GmbH' begins with ACME.

    Up to four of its own letters, the rest from the SHA-256 of the name, so that the code of an entity never depends on
    which other entities there are.
    """
    letters = "".join(each for each in legal_entity.upper() if each.isascii() and each.isalnum())[:_CODE_LETTERS]
    digest = hashlib.sha256(legal_entity.encode()).hexdigest().upper()
    return letters + digest[: _CODE_LENGTH - len(letters)]
