"""The empty form of an invoice: what `tokengov invoice new` writes for a person to fill in.

Belongs here: the lines that a provider usually prints. Does not belong here: reading the form (`invoice_form`). Every
amount is left empty, so that a form that nobody filled in is refused instead of being booked as zero.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Final

from tokengov_pipelines.domain.invoice import FORM
from tokengov_pipelines.domain.invoice_form import CSV_COLUMNS, CSV_LINE_COLUMNS, HEADER_FIELDS, HELP
from tokengov_pipelines.domain.period import BillingMonth

_HELP_LINES: Final = (
    "Copy from the invoice as printed. This text is never read; you may delete it.",
    "period_last_day is the last day inside the period, as printed.",
    "Delete the lines that are not on the invoice; copy a line for each model, token type and workspace that is.",
    "kind: usage, non_token, commitment, seat, credit (negative) or tax.",
    "quantity counts tokens and unit_price_per_mtok is the price of a million; together they check the amount.",
    "lines_total adds up usage, non_token, commitment and seat; total = lines_total + credits_total + tax_total.",
)

_USAGE: Final[Mapping[str, Sequence[tuple[str, str]]]] = {
    "anthropic": (
        ("claude-sonnet-4-6", "uncached_input"),
        ("claude-sonnet-4-6", "cache_read"),
        ("claude-sonnet-4-6", "cache_write_5m"),
        ("claude-sonnet-4-6", "output"),
    ),
    "openai": (("gpt-5", "input"), ("gpt-5", "cached_input"), ("gpt-5", "output")),
    "google": (("gemini-2.5-pro", "input"), ("gemini-2.5-pro", "output")),
}
_ANY_PROVIDER: Final = (("", "input"), ("", "output"))


def invoice_template(provider: str, month: BillingMonth, *, as_csv: bool = False, currency: str = "USD") -> str:
    """The form for one provider and month, complete but for what only the printed invoice knows."""
    header: dict[str, object] = {
        **dict.fromkeys((field.name for field in HEADER_FIELDS), ""),
        "form": FORM,
        "provider": provider,
        "period_start": str(month.first_day),
        "period_last_day": str(month.last_day),
        "currency": currency,
    }
    lines = _lines(provider)
    if as_csv:
        return _as_csv(header, lines)
    totals = {name: header.pop(name) for name in ("lines_total", "credits_total", "tax_total", "total")}
    form = {HELP: list(_HELP_LINES), **header, "lines": lines, **totals}
    return json.dumps(form, indent=2, ensure_ascii=False) + "\n"


def _lines(provider: str) -> list[dict[str, object]]:
    usage = [
        {
            "kind": "usage",
            "description": "",
            "model": model,
            "token_type": token_type,
            "service_tier": "standard",
            "workspace": "",
            "quantity": "",
            "unit": "tokens",
            "unit_price_per_mtok": "",
            "amount": "",
        }
        for model, token_type in _USAGE.get(provider, _ANY_PROVIDER)
    ]
    others = [
        {"kind": "non_token", "description": "Web search", "quantity": "", "unit": "searches", "amount": ""},
        {"kind": "credit", "description": "Credit", "original_invoice_id": "", "amount": ""},
        {"kind": "tax", "description": "Tax", "amount": ""},
    ]
    return [{"line_no": number, **line} for number, line in enumerate([*usage, *others], start=1)]


def _as_csv(header: Mapping[str, object], lines: Sequence[Mapping[str, object]]) -> str:
    written = io.StringIO(newline="")
    writer = csv.DictWriter(written, CSV_COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({**header, **{column: line.get(name, "") for column, name in CSV_LINE_COLUMNS.items()}})
    return written.getvalue()
