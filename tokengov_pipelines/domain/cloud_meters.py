"""What a line of a cloud's bill is about, as reviewed rules: AI service or not, model, token type, tier, tokens a unit.

Belongs here: the lists of patterns and words, and the functions that only apply them. A new service, meter or unit is
a new line in a list. Does not belong here: the columns of a bill (`focus`), prices, and the model behind a name
(`pricing`: the name that a meter shows is matched by the price book's alias table and never by a pattern).

Nothing is guessed (rule 4.1): a meter that no rule reads has no token type, a unit that does not say how many tokens it
is has no token count, and both stay on the bill with their money.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

AWS: Final = "aws"
GOOGLE: Final = "google"
AZURE: Final = "azure"

PROVIDER_NAMES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (AWS, re.compile(r"aws\b|amazon web services|amazon\b", re.IGNORECASE)),
    (GOOGLE, re.compile(r"google\b|gcp\b", re.IGNORECASE)),
    (AZURE, re.compile(r"microsoft\b|azure\b", re.IGNORECASE)),
)
"""How a bill names its cloud, at the beginning of the name. The words are those of seeds/provider_aliases.csv."""

STANDARD: Final = "standard"


@dataclass(frozen=True)
class ServiceRule:
    """A service whose lines are AI usage: by the bill's service name or code, and by its meter where `meter` is set.

    `meter` is for services that hold other things too, and is looked for in meter, meter group and description.
    """

    provider: str
    name: re.Pattern[str]
    meter: re.Pattern[str] | None = None


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_HOSTED: Final = (
    r"\btokens?\b|gemini|gemma|claude|llama|mistral|codestral|ministral|deepseek|qwen|kimi|grok|jamba|gpt|imagen|\bveo\b"
    r"|embedding"
)

AI_SERVICES: Final[tuple[ServiceRule, ...]] = (
    ServiceRule(AWS, _words(r"^amazon ?bedrock")),  # name and code: Amazon Bedrock, AmazonBedrockFoundationModels
    ServiceRule(AWS, _words(r"\(amazon bedrock edition\)$")),  # AWS Marketplace bills models of others by themselves
    ServiceRule(GOOGLE, _words(r"^(vertex ai|cloud vertex ai|gemini enterprise agent platform)"), _words(_HOSTED)),
    ServiceRule(GOOGLE, _words(r"^(gemini api|generative language api|claude |mistral |llama )")),
    ServiceRule(AZURE, _words(r"^azure openai|^(azure ai |microsoft )?foundry( models)?\b")),
    ServiceRule(AZURE, _words(r"^(cognitive services|azure ai services)"), _words(r"openai|foundry|\btokens?\b")),
)
"""Lines of these services are kept. All others are counted and summed, and left out."""


@dataclass(frozen=True)
class Meter:
    """What a meter's name says. `token_type` is one of `pricing.TOKEN_TYPES`, None where the line is not text tokens.

    `model` is the name as the meter shows it; `routing` is global, cross_region, data_zone or regional where it says.
    """

    model: str | None = None
    token_type: str | None = None
    tier: str | None = None
    routing: str | None = None


def provider_of(*names: str | None) -> str | None:
    """The cloud behind the first name that is one of theirs; None when none is."""
    for name in names:
        for provider, pattern in PROVIDER_NAMES:
            if name and pattern.match(name.strip()):
                return provider
    return None


def is_ai_service(provider: str | None, service: str, code: str, meter_words: str) -> bool:
    """Whether a line is usage of an AI service; `meter_words` are its meter, meter group and description."""
    return any(
        rule.provider == provider
        and bool(rule.name.search(service) or rule.name.search(code))
        and (rule.meter is None or rule.meter.search(meter_words) is not None)
        for rule in AI_SERVICES
    )


def read_meter(provider: str, service: str, meter: str | None, description: str | None) -> Meter:
    """What the meter of an AI line says; the description is asked only where the meter names no token type."""
    if provider == AWS:
        return _aws_meter(service, meter or "")
    for text in (meter, description):
        found = _worded_meter(text or "", _VOCABULARY[provider])
        if found.token_type is not None:
            return found
    return Meter()


_COUNTED: Final = re.compile(
    r"(?P<count>[1-9][\d,]*)?\s*(?P<scale>k|m|thousand|million)?\s*tokens?", re.IGNORECASE | re.ASCII
)
_SCALES: Final[Mapping[str, int]] = {"": 1, "k": 1_000, "thousand": 1_000, "m": 1_000_000, "million": 1_000_000}


def tokens_per_unit(unit: str | None, stated: Mapping[str, int]) -> int | None:
    """Tokens in one unit: '1K tokens' is 1000, '1000000 Tokens' a million; None for a unit that does not say.

    `stated` holds what the installation says of units that do not speak for themselves ('Units'), in lower case.
    """
    text = (unit or "").strip()
    if text.lower() in stated:
        return stated[text.lower()]
    match = _COUNTED.fullmatch(text)
    if match is None:
        return None
    return int((match["count"] or "1").replace(",", "")) * _SCALES[(match["scale"] or "").lower()]


# --- AWS: usage types ------------------------------------------------------------------------------------------------

_AWS_KINDS: Final[Mapping[str, str]] = {
    "inputtokens": "uncached_input",
    "inputtoken": "uncached_input",
    "textinputtokens": "uncached_input",
    "inputtokencount": "uncached_input",
    "outputtokens": "output",
    "outputtoken": "output",
    "textoutputtokens": "output",
    "outputtokencount": "output",
    "cachereadinputtokencount": "cache_read",
    "cachereadinputtokens": "cache_read",
    "cachereadtokens": "cache_read",
    "cachewriteinputtokencount": "cache_write_5m",
    "cachewriteinputtokens": "cache_write_5m",
    "cachewritetokens": "cache_write_5m",
    "cachewrite5minputtokencount": "cache_write_5m",
    "cachewritetokens5m": "cache_write_5m",
    "cachewrite1hinputtokencount": "cache_write_1h",
    "cachewritetokens1h": "cache_write_1h",
    "cachewrite1htokens": "cache_write_1h",
}
"""The token types of a Bedrock usage type, without marks. A sum of input and output alone misses the cache."""

_AWS_KIND: Final = (
    r"(?P<kind>(?:text[-_])?(?:input|output)[-_]?token(?:s|[-_]?count)?"
    r"|cache[-_]?(?:read|write)(?:[-_]?(?:1h|5m))?(?:[-_]?input)?[-_]?token(?:s|[-_]?count)(?:[-_](?:1h|5m))?)"
)
_AWS_SUFFIX: Final = r"(?P<suffix>(?:[-_](?:standard|batch|flex|priority|cross[-_]region|global|geo))*)"
_AWS_USAGE_TYPES: Final = (
    # USE1-MP:USE1_CacheReadInputTokenCount_Global-Units: Marketplace, the model is in the service's name
    _words(rf"^(?:[A-Z0-9]+-)?MP:[A-Z0-9]+_{_AWS_KIND}{_AWS_SUFFIX}(?:-Units)?$"),
    # USE1-Claude4.6Sonnet-cache-read-input-token-count, USW2-anthropic.claude-opus-4-8-mantle-input-tokens-standard
    _words(rf"^(?-i:[A-Z]{{2,4}}\d?)-(?P<model>.+?)(?:-mantle)?-{_AWS_KIND}{_AWS_SUFFIX}$"),
)
_AWS_EDITION: Final = _words(r"\s*\(amazon bedrock edition\)$")


def _aws_meter(service: str, usage_type: str) -> Meter:
    match = next((found for pattern in _AWS_USAGE_TYPES if (found := pattern.fullmatch(usage_type))), None)
    if match is None:
        return Meter()
    of_edition = _AWS_EDITION.sub("", service).strip() if _AWS_EDITION.search(service) else None
    suffix = match["suffix"].lower()
    routing = "global" if "global" in suffix else "cross_region" if "region" in suffix or "geo" in suffix else None
    return Meter(
        model=match.groupdict().get("model") or of_edition,
        token_type=_AWS_KINDS.get(re.sub(r"[-_]", "", match["kind"]).lower()),
        tier=next((tier for tier in ("batch", "flex", "priority") if tier in suffix), STANDARD),
        routing=routing,
    )


# --- Azure and Google: meters in words -------------------------------------------------------------------------------

_INPUT, _OUTPUT, _CACHED, _WRITTEN, _NOT_TEXT, _NOISE = "input", "output", "cached", "written", "not_text", "noise"


def _dictionary(meanings: Mapping[str, str]) -> Mapping[str, str]:
    """'inp inpt input' -> one entry a word."""
    return {word: meaning for words, meaning in meanings.items() for word in words.split()}


_VOCABULARY: Final[Mapping[str, Mapping[str, str]]] = {
    # gpt 4.1 cached Inp glbl Tokens; GPT 5 Mini cchd Inpt Glbl 1M Tokens; 5.6 sol LongCo Cd Wr PP DZ 1M Tokens
    AZURE: _dictionary(
        {
            "inp inpt input": _INPUT,
            "outp outpt outpu output": _OUTPUT,
            "cached cchd cache cd": _CACHED,
            "wr write wrt": _WRITTEN,
            "batch": "tier:batch",
            "pp priority prty": "tier:priority",
            "fl flex": "tier:flex",
            "std standard": "tier:standard",
            "glbl global gl": "routing:global",
            "dz dzone dzn": "routing:data_zone",
            "regnl regional rgnl": "routing:regional",
            "aud audio img image rt realtime ft finetuned training trng hosting vid video": _NOT_TEXT,
            "tokens token 1k 1m": _NOISE,
        }
    ),
    # Gemini 2.5 Flash GA Text Input - Predictions; Gemini 2.5 Pro Text Output - Batch Predictions
    GOOGLE: _dictionary(
        {
            "input prompt": _INPUT,
            "output response": _OUTPUT,
            "cached caching cache": _CACHED,
            "write creation": _WRITTEN,
            "batch": "tier:batch",
            "priority": "tier:priority",
            "flex": "tier:flex",
            "standard": "tier:standard",
            "global": "routing:global",
            "regional": "routing:regional",
            "audio image video storage tuning training tuned grounding live": _NOT_TEXT,
            "text tokens token count prediction predictions read hit": _NOISE,
        }
    ),
}
"""What the words of a meter mean. Words that are in no list make up the model's name."""

_WORD: Final = re.compile(r"[^\s,()]+")
_PREFIX: Final = _words(r"^azure openai( service)?( gpt\d+)?\s*-\s*")


def _worded_meter(text: str, vocabulary: Mapping[str, str]) -> Meter:
    name: list[str] = []
    meanings: list[str] = []
    for word in _WORD.findall(_PREFIX.sub("", text)):
        meaning = vocabulary.get(word.lower().strip("-"))
        if meaning is not None:
            meanings.append(meaning)
        elif word.strip("-"):
            name.append(word)
    if _NOT_TEXT in meanings:
        return Meter()
    is_input, is_output, is_cached = (word in meanings for word in (_INPUT, _OUTPUT, _CACHED))
    token_type = None
    if is_cached and not is_output:
        token_type = "cache_write_5m" if _WRITTEN in meanings else "cache_read"
    elif is_input != is_output:
        token_type = "uncached_input" if is_input else "output"
    if token_type is None:
        return Meter()
    said = dict(meaning.split(":", 1) for meaning in meanings if ":" in meaning)
    return Meter(" ".join(name) or None, token_type, said.get("tier", STANDARD), said.get("routing"))
