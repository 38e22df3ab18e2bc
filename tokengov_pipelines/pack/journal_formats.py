"""The formats that ledgers import a journal in, as column maps (Rule 6.5).

NetSuite, Xero, QuickBooks Online, SAP and Oracle come with the product, as YAML files of `journal_maps`.

Belongs here: what a map may say, and its check. Does not belong here: the files written by a map (`journal_exports`),
and anything that one format alone needs: what a format wants is said in its map.
"""

import re
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any, Final, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tokengov_pipelines.pack.writer import PackError

FORMATS: Final = ("netsuite", "xero", "qbo", "sap", "oracle")
"""The formats that come with the product."""

JournalField = Literal[
    "external_id", "line_no", "posting_date", "period", "legal_entity", "account", "cost_center", "debit", "credit",
    "amount", "currency", "memo", "provider", "invoice_id", "version",
]  # fmt: skip
"""What may fill a column: a column of journal.csv, or `amount`, the one signed number."""

AMOUNTS: Final = frozenset({"debit", "credit", "amount"})
PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
"""A field inside a column's `text`."""

DIGEST_LENGTH: Final = 8
"""Characters of the digest that a shortened text ends in."""

_TEXT_FIELDS: Final = frozenset(get_args(JournalField)) - AMOUNTS
_DATE_FORM: Final = re.compile(r"(YYYY|MM|DD|[-/.])+")


class JournalFormatError(PackError):
    """A map that cannot be used, or a line that a format does not take; the text names the place and the fix."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class MapColumn(_Strict):
    """A column of the file: one of `field`, `text` (with {field} in it), `constant` and `setting` fills it.

    `table` looks the field's value up; a value without an entry stays as it is. `when` leaves the column empty unless
    that field is filled; `if_empty` names the setting that stands in for an empty field. `too_long` says what happens
    to text beyond `max_length`: refuse it, cut it, or cut it and end in a digest of the whole, which keeps it unique.
    """

    name: str = Field(min_length=1)
    field: JournalField | None = None
    text: str | None = None
    constant: str | None = None
    setting: str | None = None
    table: str | None = None
    when: JournalField | None = None
    if_empty: str | None = None
    max_length: int | None = Field(default=None, ge=1)
    too_long: Literal["refuse", "cut", "digest"] = "refuse"

    @model_validator(mode="after")
    def _one_source(self) -> "MapColumn":
        if sum(each is not None for each in (self.field, self.text, self.constant, self.setting)) != 1:
            message = "a column has exactly one of field, text, constant and setting"
            raise ValueError(message)
        if self.table is not None and self.field is None:
            message = "table looks up a field, and the column has none"
            raise ValueError(message)
        if self.too_long == "digest" and (self.max_length or 0) <= DIGEST_LENGTH + 1:
            message = f"too_long: digest needs a max_length of {DIGEST_LENGTH + 2} or more"
            raise ValueError(message)
        unknown = sorted(set(PLACEHOLDER.findall(self.text or "")) - _TEXT_FIELDS)
        if unknown:
            message = f"text names {', '.join(unknown)}, which no journal line has as text"
            raise ValueError(message)
        return self


class JournalMap(_Strict):
    """A format: what its file looks like and what it takes.

    `lines_per_file` counts lines under the header. An entry is kept in one file where it fits; a longer one is torn
    into balanced parts. `settings` and `tables` hold the values that an installation may set (`with_values`).
    """

    format: str = Field(pattern=r"^[a-z0-9_]+$")
    description: str
    date_format: str
    header: bool = True
    lines_per_file: int | None = Field(default=None, ge=3)
    one_legal_entity_per_file: bool = False
    integer_digits: int | None = Field(default=None, ge=1)
    decimals: int | None = Field(default=None, ge=0)
    amount_sign: Literal["debit_positive", "credit_positive"] = "debit_positive"
    settings: dict[str, str] = Field(default_factory=dict)
    tables: dict[str, dict[str, str]] = Field(default_factory=dict)
    columns: tuple[MapColumn, ...] = Field(min_length=1, strict=False)

    @model_validator(mode="after")
    def _fits_together(self) -> "JournalMap":
        if not _DATE_FORM.fullmatch(self.date_format):
            message = "date_format is made of YYYY, MM and DD with - / or . between them"
            raise ValueError(message)
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            message = f"columns: {', '.join(sorted({name for name in names if names.count(name) > 1}))} stands twice"
            raise ValueError(message)
        for column in self.columns:
            for setting in filter(None, (column.setting, column.if_empty)):
                if setting not in self.settings:
                    message = f"column {column.name} reads the setting {setting}, which is not under settings"
                    raise ValueError(message)
            if column.table is not None and column.table not in self.tables:
                message = f"column {column.name} reads the table {column.table}, which is not under tables"
                raise ValueError(message)
        return self

    @property
    def file(self) -> str:
        """The file's name where it is one, and how its place is named in messages."""
        return f"journal_{self.format}.csv"


def read_map(name: str, text: str) -> JournalMap:
    """A map from its YAML text. `name` is the file, for messages.

    Raises:
        JournalFormatError: the text is no YAML, or a key is missing, unknown or out of range; every one is named.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        message = f"{name}: {place}this is not valid YAML. Fix: correct that line."
        raise JournalFormatError(message) from error
    if not isinstance(content, dict):
        message = f"{name}: this is no list of keys and values. Fix: write one `key: value` a line."
        raise JournalFormatError(message)
    return _validated(name, content)


def shipped_maps(formats: Iterable[str] = FORMATS) -> tuple[JournalMap, ...]:
    """The product's maps, in the order asked for.

    Raises:
        JournalFormatError: there is no map of that name.
    """
    folder = resources.files("tokengov_pipelines.pack") / "journal_maps"
    maps = []
    for name in formats:
        if name not in FORMATS:
            message = f"there is no journal format {name!r}. Fix: name some of {', '.join(FORMATS)}."
            raise JournalFormatError(message)
        maps.append(read_map(f"journal_maps/{name}.yaml", (folder / f"{name}.yaml").read_text(encoding="utf-8")))
    return tuple(maps)


def with_values(maps: Iterable[JournalMap], values: Mapping[str, Mapping[str, Any]]) -> tuple[JournalMap, ...]:
    """The maps with an installation's own values: by format, a setting's text or a table's entries.

    Entries of a table are laid over those of the map. Values of a format that is not among the maps are left alone.

    Raises:
        JournalFormatError: a name that the map does not have, or a value of another shape.
    """
    return tuple(_with_own(each, values.get(each.format, {})) for each in maps)


def _with_own(own_map: JournalMap, own: Mapping[str, Any]) -> JournalMap:
    content = own_map.model_dump()
    for name, value in own.items():
        if name == "amount_sign":
            content["amount_sign"] = value
        elif name in own_map.settings:
            content["settings"][name] = value
        elif name in own_map.tables and isinstance(value, Mapping):
            content["tables"][name] = content["tables"][name] | dict(value)
        else:
            known = ", ".join(sorted({*own_map.settings, *own_map.tables, "amount_sign"}))
            message = f"journal values of {own_map.format}: {name} cannot be set so. Fix: the values are {known}."
            raise JournalFormatError(message)
    return _validated(f"journal values of {own_map.format}", content)


def _validated(name: str, content: dict[str, Any]) -> JournalMap:
    try:
        return JournalMap.model_validate(content)
    except ValidationError as error:
        lines = []
        for item in error.errors():
            key = ".".join(map(str, item["loc"]))
            what = "there is no such key" if item["type"] == "extra_forbidden" else str(item["msg"])
            lines.append(f"{name}: {key + ': ' if key else ''}{what}. Fix: correct or remove it.")
        raise JournalFormatError("\n".join(lines)) from error
