"""The price list: `prices/price_list.csv` and `model_aliases.csv` of the package, from genai-prices and reviewed files.

    python -m scripts.price_seed            write both files
    python -m scripts.price_seed --check    write nothing; 1 and the first differences when a file is not what comes out

Belongs here: which models are listed, how the package's conditional prices become dated rows, and what is said about a
price that the package does not date. Does not belong here: what a sound book is (`tokengov_pipelines.domain.pricing`,
which checks the result), corrections of single prices (`reviewed_prices.csv`) and names (`reviewed_aliases.csv`), what
a geography costs (`prices/geo_factors.csv`, written by hand: the package ignores geographies).

The package answers for every day and tier, now and then by falling back in silence. Here the column `source` says on
what each price stands:

- `genai-prices`: it is stated, from this day on.
- `genai-prices:start-not-stated`: it is stated, but not since when, so it holds from the beginning.
- `genai-prices:same-as-standard`: the provider lists no price of the tier's own, and the standard one holds.
- `derived:carried-back`: a batch before the package's first record of batches (October 2026) costs what was recorded
  then, as long as the standard price was the same.
- `derived:half-of-standard`: a batch costs half of that day's standard price. Anthropic's rule for all batches;
  elsewhere only where the recorded price is half.
- `reviewed: ...`: corrected by hand, for the reason given.

Flex, priority and fast before their record have no row: they were no fixed share, and nothing stands in for them.

Of the models that hear or speak OpenAI's are listed, with text and audio prices, because its reports count audio apart.
A proxy counts audio as input and output: for these models the difference nets in the mix of rule 4.2. Models that take
images beside it have a third price that nobody counts, and stay out.
"""

import argparse
import csv
import datetime as dt
import difflib
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from genai_prices.data import providers as package_providers
from genai_prices.types import ModelInfo, ModelPrice, PriceVariant, Provider, StartDateConstraint, TieredPrices

from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.price_files import (
    ALIAS_COLUMNS,
    PRICE_COLUMNS,
    SLUG_FILE,
    load_book,
    overlay,
    read_aliases,
    read_prices,
)
from tokengov_pipelines.domain.pricing import (
    ALIAS_FILE,
    GEO_FILE,
    PRICE_FILE,
    PRICED_UNITS,
    Alias,
    PriceRow,
    band_label,
)

REPOSITORY: Final = Path(__file__).resolve().parent.parent
PRICES: Final = REPOSITORY / "tokengov_pipelines" / "prices"
SLUGS: Final = REPOSITORY / "dbt_project" / "seeds" / SLUG_FILE
REVIEWED_PRICES: Final = Path(__file__).with_name("reviewed_prices.csv")
REVIEWED_ALIASES: Final = Path(__file__).with_name("reviewed_aliases.csv")

PROVIDERS: Final = ("anthropic", "google", "openai")
TIERS: Final = {
    "standard": {},
    "batch": {"processing": "batch"},
    "fast": {"service_tier": "fast"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}
ANTHROPIC_FAST: Final = {"speed": "fast"}
NO_TIER: Final = {"service_tier": "default"}
PRICE_KEYS: Final = {
    "uncached_input": "input_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write_5m": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "output": "output_mtok",
    "web_search_requests": "web_searches_kcount",
}
BEGINNING: Final = dt.date(1900, 1, 1)

AUDIO_PRICE_KEYS: Final = {
    "input_audio": "input_audio_mtok",
    "cache_read_audio": "cache_audio_read_mtok",
    "output_audio": "output_audio_mtok",
}

# Not text for text: their tokens have prices of their own that a proxy's token counts do not tell apart.
OTHER_MEDIA: Final = frozenset(
    ("audio", "banana", "image", "live", "omni", "realtime", "robotics", "streaming", "transcribe", "tts", "video")
)
# Retired before 2025, sold by others, free of charge, fine-tunes (named by customer), or names of other catalogues.
UNLISTED: Final = (
    *("ada", "babbage", "babbage-002", "curie", "davinci", "davinci-002", "text-davinci-002", "text-davinci-003"),
    *("claude-2", "claude-v1", "gemini-1.0-pro-vision-001", "gemini-pro", "gpt-4-vision-preview", "gpt-chat-latest"),
    *("gemma-2-27b-it", "gemma-4-26b-a4b-it-maas", "gpt-oss-120b", "gpt-oss-20b", "gpt-oss-safeguard-20b"),
    *("gpt-3.5-0301", "gpt-3.5-turbo-0613", "gpt-3.5-turbo-16k", "gpt-3.5-turbo-instruct", "gpt-4-32k"),
    *("ft:gpt-3.5-turbo-", "ft:gpt-4o", "ft:gpt-4o-mini", "gpt-4o-mini-2024-07-18.ft-", "gpt-4o:extended"),
)
# They name another model every few months, and the package knows today's only.
MOVING_NAMES: Final = ("gemini-flash-latest", "gemini-flash-lite-latest", "gemini-pro-latest")


@dataclass(frozen=True)
class Figure:
    """A price of one token type: by the input tokens it starts above, and where it comes from."""

    by_band: tuple[tuple[int, Decimal], ...]
    source: str


def main(arguments: list[str] | None = None) -> int:
    """Write or check both files; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args(arguments).check
    wanted = seed_files()
    changed = [name for name, text in wanted.items() if not _is_same(PRICES / name, text)]
    if not check:
        for name in changed:
            (PRICES / name).write_text(wanted[name], encoding="utf-8")
    for name in changed if check else ():
        before = (PRICES / name).read_text(encoding="utf-8") if (PRICES / name).exists() else ""
        lines = difflib.unified_diff(
            before.splitlines(), wanted[name].splitlines(), "checked in", "generated", "", "", 0
        )
        sys.stdout.write("\n".join([name, *list(lines)[:20], ""]))
    made = f"genai-prices {package_version()}"
    if check and changed:
        fix = "python -m scripts.price_seed, and review what it changes"
        sys.stdout.write(f"{' and '.join(changed)} is not what {made} gives. Fix: {fix}.\n")
        return 1
    sys.stdout.write(f"{PRICE_FILE} and {ALIAS_FILE} are what {made} gives; changed: {', '.join(changed) or 'none'}.\n")
    return 0


def seed_files() -> dict[str, str]:
    """The text of both files by name.

    Raises:
        ValueError: the result is no sound book; the text lists the problems.
    """
    reviewed, problems = read_prices(REVIEWED_PRICES.read_bytes())
    prices = sorted(overlay(_listed_prices(), reviewed), key=_reading_order)
    named, alias_problems = read_aliases(REVIEWED_ALIASES.read_bytes())
    aliases = sorted({*_listed_aliases(), *named}, key=lambda alias: (alias.provider, alias.model, alias.alias))
    files = {
        PRICE_FILE: _csv(PRICE_COLUMNS, [_price_cells(row) for row in prices]),
        ALIAS_FILE: _csv(ALIAS_COLUMNS, [[alias.alias, alias.provider, alias.model] for alias in aliases]),
    }
    made = [files[name].encode() for name in (PRICE_FILE, ALIAS_FILE)]
    _, found = load_book(*made, SLUGS.read_bytes(), (PRICES / GEO_FILE).read_bytes())
    if problems or alias_problems or found:
        message = "the seed would be no sound book:\n" + "\n".join(
            str(problem) for problem in [*problems, *alias_problems, *found][:20]
        )
        raise ValueError(message)
    return files


def package_version() -> str:
    """The installed version of genai-prices."""
    return version("genai-prices")


def _listed_models() -> Iterator[tuple[Provider, ModelInfo]]:
    for provider in package_providers:
        for model in provider.models if provider.id in PROVIDERS else ():
            if model.id not in UNLISTED and _units(provider, model):
                yield provider, model


def _units(provider: Provider, model: ModelInfo) -> tuple[str, ...]:
    """What is listed of a model: text and searches, with audio where OpenAI sells it by the token, or nothing."""
    if not _sells_text(model):
        return ()
    if not set(model.id.replace(":", "-").split("-")) & OTHER_MEDIA:
        return tuple(PRICE_KEYS)
    prices = model.get_prices(_noon(BEGINNING))
    hears = any(getattr(prices, key) is not None for key in AUDIO_PRICE_KEYS.values())
    return PRICED_UNITS if provider.id == "openai" and hears and prices.input_image_mtok is None else ()


def _sells_text(model: ModelInfo) -> bool:
    return model.get_prices(_noon(BEGINNING)).input_mtok is not None


def _listed_prices() -> list[PriceRow]:
    rows: list[PriceRow] = []
    for provider, model in _listed_models():
        _refuse_the_unknown(provider, model)
        for tier in TIERS:
            days = _days_of_change(provider.id, model, tier)
            dated = [(day, _figures(provider.id, model, tier, day)) for day in days]
            for name in _units(provider, model):
                by_day = [(day, figures.get(name)) for day, figures in dated]
                rows += _rows_of(provider.id, model.id, name, tier, by_day)
    return rows


def _refuse_the_unknown(provider: Provider, model: ModelInfo) -> None:
    """A condition that this script does not turn into rows would be a price that silently stays away."""
    conditions = [entry.constraint for entry in model.prices] if isinstance(model.prices, list) else []
    known = [*TIERS.values(), ANTHROPIC_FAST, NO_TIER]
    for variant in model.price_variants or ():
        conditions.append(variant.constraint)
        if variant.when not in known:
            message = f"{provider.id} {model.id} has prices for {variant.when}. Fix: give them a tier in TIERS."
            raise ValueError(message)
    if any(not isinstance(condition, StartDateConstraint | None) for condition in conditions):
        message = f"{provider.id} {model.id} has prices by time of day. Fix: leave the model out, with the reason."
        raise ValueError(message)


def _variants(provider: str, model: ModelInfo, tier: str) -> list[PriceVariant]:
    context = _context(provider, tier)
    return [variant for variant in model.price_variants or () if context and variant.when == context]


def _context(provider: str, tier: str) -> dict[str, str]:
    return ANTHROPIC_FAST if tier == "fast" and provider != "openai" else TIERS[tier]


def _days_of_change(provider: str, model: ModelInfo, tier: str) -> list[dt.date]:
    entries: list[Any] = model.prices if isinstance(model.prices, list) else []
    dated = [entry.constraint for entry in (*entries, *_variants(provider, model, tier)) if entry.constraint]
    return sorted({BEGINNING, *(constraint.start_date for constraint in dated)})


def _figures(provider: str, model: ModelInfo, tier: str, day: dt.date) -> dict[str, Figure]:
    """The prices of a tier on a day by token type; a tier that is not sold, or not known to be, has none."""
    standard = model.get_prices(_noon(day))
    stated = "genai-prices" if day > BEGINNING else "genai-prices:start-not-stated"
    if tier == "standard":
        return {name: Figure(bands, stated) for name, bands in _by_type(standard).items()}
    variants = _variants(provider, model, tier)
    active = [variant for variant in variants if variant.constraint is None or variant.constraint.active(_noon(day))]
    if active:
        keys = PRICE_KEYS | AUDIO_PRICE_KEYS
        own = {key for variant in active for key, value in vars(variant.prices).items() if value is not None}
        priced = _by_type(model.get_prices(_noon(day), _context(provider, tier)))
        return {
            name: Figure(bands, stated if keys[name] in own else "genai-prices:same-as-standard")
            for name, bands in priced.items()
        }
    return _batch_before_the_record(provider, model, variants, standard) if tier == "batch" else {}


def _batch_before_the_record(
    provider: str, model: ModelInfo, variants: list[PriceVariant], standard: ModelPrice
) -> dict[str, Figure]:
    then = _by_type(standard)
    if not variants:
        return _half_of(then) if provider == "anthropic" else {}
    began = min(variant.constraint.start_date for variant in variants if variant.constraint)
    recorded = _by_type(model.get_prices(_noon(began), TIERS["batch"]))
    beside = _by_type(model.get_prices(_noon(began)))
    found = {}
    for name, bands in then.items():
        if bands == beside.get(name):
            found[name] = Figure(recorded[name], "derived:carried-back")
        elif name in recorded and _halved(beside[name]) == recorded[name]:
            found[name] = Figure(_halved(bands), "derived:half-of-standard")
        elif name in recorded and beside[name] == recorded[name]:
            found[name] = Figure(bands, "derived:carried-back")
    return found


def _half_of(standard: dict[str, tuple[tuple[int, Decimal], ...]]) -> dict[str, Figure]:
    """Batches of Anthropic cost half per token, cache reads and writes included; searches are not discounted."""
    return {
        name: Figure(bands, "genai-prices:same-as-standard")
        if name == "web_search_requests"
        else Figure(_halved(bands), "derived:half-of-standard")
        for name, bands in standard.items()
    }


def _halved(bands: tuple[tuple[int, Decimal], ...]) -> tuple[tuple[int, Decimal], ...]:
    return tuple((over, price / 2) for over, price in bands)


def _by_type(prices: ModelPrice) -> dict[str, tuple[tuple[int, Decimal], ...]]:
    """USD per million by token type: ((0, base), (200000, above), ...)."""
    found = {}
    for name, key in (PRICE_KEYS | AUDIO_PRICE_KEYS).items():
        value = getattr(prices, key)
        if isinstance(value, TieredPrices):
            found[name] = ((0, value.base), *((tier.start, tier.price) for tier in value.tiers))
        elif value is not None:
            # Searches are listed per thousand.
            found[name] = ((0, value * 1000 if key.endswith("_kcount") else value),)
    return found


def _rows_of(
    provider: str, model: str, token_type: str, tier: str, dated: list[tuple[dt.date, Figure | None]]
) -> Iterator[PriceRow]:
    """One row a band and a stretch of days; a price that a change leaves as it was runs on."""
    changes: list[tuple[dt.date, Figure | None]] = []
    for day, figure in dated:
        last = changes[-1][1] if changes else None
        if last and figure and last.by_band == figure.by_band and not last.source.startswith("derived"):
            continue
        changes.append((day, figure))
    ends = [day for day, _ in changes[1:]]
    for (day, figure), end in zip(changes, [*ends, None], strict=True):
        overs = [over for over, _ in figure.by_band] if figure else []
        for at, (over, price) in enumerate(figure.by_band if figure else ()):
            yield PriceRow(
                provider,
                model,
                token_type,
                tier,
                band_label(over, overs[at + 1] if at + 1 < len(overs) else None),
                over,
                price,
                Interval(day, end),
                figure.source if figure else "",
                package_version(),
            )


def _listed_aliases() -> Iterator[Alias]:
    """The package's own exact names of the listed models, where it also finds the model by them."""
    for provider, model in _listed_models():
        for name in sorted({model.id, *_exact_names(model.match)}):
            if name not in MOVING_NAMES and provider.find_model(name) is model:
                yield Alias(name.lower(), provider.id, model.id)


def _exact_names(clause: Any) -> Iterator[str]:
    """Names under an `equals`; what starts with or looks like a name is left to the reviewed file."""
    if hasattr(clause, "equals"):
        yield clause.equals
    for part in getattr(clause, "or_", ()):
        yield from _exact_names(part)


def _reading_order(row: PriceRow) -> tuple[object, ...]:
    tier = list(TIERS).index(row.service_tier) if row.service_tier in TIERS else len(TIERS)
    place = PRICED_UNITS.index(row.token_type)
    return (row.provider, row.model, tier, row.valid.valid_from, place, row.context_over_tokens)


def _price_cells(row: PriceRow) -> list[object]:
    end = row.valid.valid_to
    days = [row.valid.valid_from, end or ""]
    names = [row.provider, row.model, row.token_type, row.service_tier, row.context_band, row.context_over_tokens]
    return [*names, f"{row.usd_per_mtok.normalize():f}", *days, row.source, row.source_version]


def _csv(header: tuple[str, ...], rows: list[list[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _noon(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(12), dt.UTC)


def _is_same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
