"""The grammar of one written value: dates, e-mails, currencies, time zones, amounts.

Belongs here: text in, typed value out, or `CellError` with what is wrong and the fix. Does not belong here: which
column holds what (`directory`, `invoice_form`) and comparisons between rows.
"""

import datetime as dt
import difflib
import re
import zoneinfo
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import cache
from typing import Final

from tokengov_pipelines.domain import money

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_PROVIDER: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}", re.ASCII)
_SECRET: Final = re.compile(
    r"(sk-[A-Za-z0-9_-]{16,}|gh[opsu]_[A-Za-z0-9]{16,}|github_pat_\w+|Bearer\s+\S+|.*PRIVATE KEY)", re.ASCII | re.DOTALL
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_TEXT: Final = 500


class CellError(ValueError):
    """A value that its column does not take: `what` is wrong with it, and the `fix`."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}. Fix: {fix}.")
        self.what = what
        self.fix = fix


def shown(value: object) -> str:
    """A value as an error message may show it: quoted, short, and never a secret."""
    text = str(value)
    if _SECRET.match(text):
        return "(hidden: it looks like a secret)"
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def text(value: str) -> str:
    """Free text on one line. A value that looks like a live key is refused without repeating it."""
    if _SECRET.match(value):
        what = "holds what looks like a secret key"
        raise CellError(what, "remove it from the file, revoke the key, and write its hash or its id")
    if _CONTROL.search(value):
        what = f"{shown(value)} holds a line break or a control character"
        raise CellError(what, "write it on one line, without")
    if len(value) > _LONGEST_TEXT:
        what = f"is {len(value)} characters long; {_LONGEST_TEXT} are allowed"
        raise CellError(what, "shorten it, and look for a missing quotation mark")
    return value


def key_hash(value: str) -> str:
    """The hash of a proxy key, as the proxy stores it; never the key itself (rule 12.8)."""
    if value.startswith("sk-"):
        what = "holds a key, not its hash"
        raise CellError(what, "revoke the key if the file was shared, and write the hash that the proxy's log shows")
    return text(value)


def provider(value: str) -> str:
    """A provider's name as every table spells it: lower case, no blanks."""
    if _PROVIDER.fullmatch(value):
        return value
    what = f"{shown(value)} is not a provider's name"
    raise CellError(what, "write it in lower case without blanks, such as anthropic, openai or google")


def iso_date(value: str) -> dt.date:
    """A calendar date written YYYY-MM-DD, and nothing else."""
    if _DATE.fullmatch(value):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            pass
    what = f"{shown(value)} is not a date"
    raise CellError(what, "write YYYY-MM-DD, such as 2026-10-01")


def email(value: str) -> str:
    """An e-mail address: something, an @, something."""
    if _EMAIL.fullmatch(text(value)):
        return value
    what = f"{shown(value)} is not an e-mail address"
    raise CellError(what, "write name@company.example")


def currency(value: str) -> str:
    """An ISO 4217 code in capitals."""
    try:
        money.minor_unit_scale(value)
    except money.MoneyError:
        what = f"{shown(value)} is not an ISO 4217 currency code"
        raise CellError(what, "write three capitals, such as USD or EUR") from None
    return value


def amount(value: Decimal | int | str) -> Decimal:
    """An exact amount or quantity (rule 1.2)."""
    try:
        return money.usd(value)
    except money.MoneyError:
        what = f"{shown(value)} is not a decimal number"
        raise CellError(what, "write digits with a decimal point, such as 1234.56 or -50.00") from None


def positive_rate(value: str) -> str:
    """A rate as it is written: a decimal number above zero (rule 1.6)."""
    if amount(value) > 0:
        return value
    what = f"{shown(value)} is not a rate: a rate is above zero"
    raise CellError(what, "write how many units of to_currency one unit of from_currency buys")


def time_zone(value: str) -> str:
    """A name of the IANA time zone database, such as America/New_York."""
    if value in _time_zones():
        return value
    what = f"{shown(value)} is not a time zone"
    raise CellError(what, did_you_mean(value, _time_zones()) or "write an IANA name, such as America/New_York or UTC")


def one_of(*words: str) -> Callable[[str], str]:
    """A reader that takes these words only."""

    def read(value: str) -> str:
        if value in words:
            return value
        what = f"{shown(value)} is not one of {', '.join(words)}"
        raise CellError(what, did_you_mean(value, words) or f"write one of {', '.join(words)}")

    return read


def did_you_mean(value: str, known: Iterable[str]) -> str | None:
    """A fix that names the known value closest to a mistyped one."""
    close = closest(value, known)
    return f"write {close}, if that is what is meant" if close else None


def closest(value: str, known: Iterable[str]) -> str | None:
    """The known value closest to a mistyped one: for messages only, never for matching (rule 3.2)."""
    close = difflib.get_close_matches(value, sorted(known), n=1, cutoff=0.75)
    return close[0] if close else None


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())
