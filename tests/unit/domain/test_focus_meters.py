"""What the meters of Bedrock, Vertex AI and Azure OpenAI say, and which lines are AI at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.cloud_meters import (
    AWS,
    AZURE,
    GOOGLE,
    Meter,
    is_ai_service,
    provider_of,
    read_meter,
    tokens_per_unit,
)
from tokengov_pipelines.domain.pricing import TOKEN_TYPES

EDITION = "Claude Sonnet 4.6 (Amazon Bedrock Edition)"


@pytest.mark.parametrize(
    ("usage_type", "model", "token_type", "tier", "routing"),
    [
        ("USE1-Claude4.6Sonnet-input-tokens", "Claude4.6Sonnet", "uncached_input", "standard", None),
        ("USE1-Claude4.6Sonnet-output-tokens", "Claude4.6Sonnet", "output", "standard", None),
        ("USE1-Claude4.6Sonnet-cache-read-input-token-count", "Claude4.6Sonnet", "cache_read", "standard", None),
        ("USE1-Claude4.6Sonnet-cache-write-input-token-count", "Claude4.6Sonnet", "cache_write_5m", "standard", None),
        ("APN1-NovaPro-input-tokens-batch", "NovaPro", "uncached_input", "batch", None),
        ("EU-Qwen3-32B-output-tokens-flex", "Qwen3-32B", "output", "flex", None),
        ("USE1-Nova2.0Lite-input-tokens-cross-region-global", "Nova2.0Lite", "uncached_input", "standard", "global"),
        (
            "USW2-anthropic.claude-opus-4-8-mantle-cache-write-tokens-standard",
            "anthropic.claude-opus-4-8",
            "cache_write_5m",
            "standard",
            None,
        ),
        ("USE1-openai.gpt-oss-20b-mantle-output-tokens-priority", "openai.gpt-oss-20b", "output", "priority", None),
    ],
)
def test_a_usage_type_of_bedrock_names_model_type_and_tier(usage_type, model, token_type, tier, routing):
    assert read_meter(AWS, "Amazon Bedrock", usage_type, None) == Meter(model, token_type, tier, routing)


@pytest.mark.parametrize(
    ("usage_type", "token_type", "tier", "routing"),
    [
        ("USE1-MP:USE1_InputTokenCount-Units", "uncached_input", "standard", None),
        ("USE1-MP:USE1_OutputTokenCount_Global-Units", "output", "standard", "global"),
        ("USE1-MP:USE1_InputTokenCount_Global_Batch-Units", "uncached_input", "batch", "global"),
        ("USE1-MP:USE1_CacheReadInputTokenCount-Units", "cache_read", "standard", None),
        ("USE1-MP:USE1_CacheWriteInputTokenCount-Units", "cache_write_5m", "standard", None),
        ("USE1-MP:USE1_CacheWrite1hInputTokenCount_Global-Units", "cache_write_1h", "standard", "global"),
        ("APS3-MP:APS3_output_tokens_global_standard-Units", "output", "standard", "global"),
        ("USE1-MP:USE1_cache_write_tokens_1h_global_standard-Units", "cache_write_1h", "standard", "global"),
    ],
)
def test_a_model_of_the_marketplace_is_named_by_its_service(usage_type, token_type, tier, routing):
    assert read_meter(AWS, EDITION, usage_type, None) == Meter("Claude Sonnet 4.6", token_type, tier, routing)


@pytest.mark.parametrize(
    ("meter", "model", "token_type", "tier", "routing"),
    [
        ("gpt 4.1 Inp glbl Tokens", "gpt 4.1", "uncached_input", "standard", "global"),
        ("gpt 4.1 Outp glbl Tokens", "gpt 4.1", "output", "standard", "global"),
        ("gpt 4o 1120 cached Inp glbl Tokens", "gpt 4o 1120", "cache_read", "standard", "global"),
        ("gpt 4o 1120 Batch Inp DZ Tokens", "gpt 4o 1120", "uncached_input", "batch", "data_zone"),
        ("gpt 4o 0806 Inp regnl Tokens", "gpt 4o 0806", "uncached_input", "standard", "regional"),
        ("GPT 5 Mini cchd Inpt Glbl 1M Tokens", "GPT 5 Mini", "cache_read", "standard", "global"),
        ("5.6 sol LongCo Cd Wr PP DZ 1M Tokens", "5.6 sol LongCo", "cache_write_5m", "priority", "data_zone"),
    ],
)
def test_a_meter_of_azure_is_read_word_by_word(meter, model, token_type, tier, routing):
    assert read_meter(AZURE, "Cognitive Services", meter, None) == Meter(model, token_type, tier, routing)


@pytest.mark.parametrize(
    ("description", "model", "token_type", "tier"),
    [
        ("Gemini 2.5 Flash GA Text Input - Predictions", "Gemini 2.5 Flash GA", "uncached_input", "standard"),
        ("Gemini 2.5 Pro Text Output - Batch Predictions", "Gemini 2.5 Pro", "output", "batch"),
        ("Gemini 2.5 Flash GA Text Input Caching", "Gemini 2.5 Flash GA", "cache_read", "standard"),
        ("Claude Sonnet 4.5 Cache Write Tokens", "Claude Sonnet 4.5", "cache_write_5m", "standard"),
    ],
)
def test_a_sku_of_google_is_read_from_its_description(description, model, token_type, tier):
    assert read_meter(GOOGLE, "Vertex AI", None, description) == Meter(model, token_type, tier, None)


@pytest.mark.parametrize(
    ("provider", "meter"),
    [
        (AWS, "USE1-Guardrail-ContentPolicyUnitsConsumed"),
        (AWS, "USE1-NovaCanvas-T2I-1024-Standard"),
        (AWS, "USE1-x-input-image-token-count"),
        (AWS, "Claude4.6Sonnet-input-tokens"),  # no region: where does it end?
        (AWS, ""),
        (AZURE, "Provisioned Managed Global Unit"),
        (AZURE, "gpt 4o aud Inp glbl Tokens"),
        (GOOGLE, "Gemini 2.5 Flash Input Text Caching Storage"),
        (GOOGLE, "Gemini 2.5 Flash GA Video Input - Predictions"),
    ],
)
def test_a_meter_that_is_not_of_text_tokens_has_no_type(provider, meter):
    assert read_meter(provider, "a service", meter, None) == Meter()


@given(st.sampled_from((AWS, AZURE, GOOGLE)), st.text(max_size=60), st.text(max_size=60))
def test_any_meter_gives_a_known_type_or_none(provider, meter, description):
    assert read_meter(provider, description, meter, description).token_type in {*TOKEN_TYPES, None}


@pytest.mark.parametrize(
    ("names", "provider"),
    [
        (("AWS",), AWS),
        (("Anthropic, PBC", "Amazon Web Services, Inc."), AWS),
        ((None, "Google Cloud"), GOOGLE),
        (("Microsoft",), AZURE),
        (("Oracle", None), None),
        (("ACMECORP",), None),
    ],
)
def test_the_cloud_is_the_first_name_that_is_one(names, provider):
    assert provider_of(*names) == provider


@pytest.mark.parametrize(
    ("provider", "service", "code", "meter", "is_ai"),
    [
        (AWS, "Amazon Bedrock", "", "", True),
        (AWS, "Claude Opus 5 (Amazon Bedrock Edition)", "", "", True),
        (AWS, "8x2ksd9", "AmazonBedrockFoundationModels", "", True),
        (AWS, "Amazon Simple Storage Service", "AmazonS3", "bedrock-bucket tokens", False),
        (GOOGLE, "Vertex AI", "", "Gemini 2.5 Pro Text Input - Predictions", True),
        (GOOGLE, "Vertex AI", "", "Custom Training N1 Predefined Core", False),
        (GOOGLE, "Gemini API", "", "", True),
        (AZURE, "Azure OpenAI", "", "", True),
        (AZURE, "Foundry Models", "", "", True),
        (AZURE, "Cognitive Services", "", "Azure OpenAI gpt 4.1 Inp glbl Tokens", True),
        (AZURE, "Cognitive Services", "", "Standard Text Records", False),
        (AZURE, "Azure Cognitive Search", "", "", False),
        (None, "Amazon Bedrock", "", "", False),
    ],
)
def test_only_ai_services_are_kept(provider, service, code, meter, is_ai):
    assert is_ai_service(provider, service, code, meter) is is_ai


@pytest.mark.parametrize(
    ("unit", "tokens"),
    [
        ("Tokens", 1),
        ("1K tokens", 1_000),
        ("1000 Tokens", 1_000),
        ("1M Tokens", 1_000_000),
        ("1000000 Tokens", 1_000_000),
        ("1,000,000 tokens", 1_000_000),
        ("million tokens", 1_000_000),
        ("Units", None),
        ("1M", None),
        ("count", None),
        ("Hours", None),
        ("Characters", None),
        ("", None),
        (None, None),
    ],
)
def test_a_unit_says_how_many_tokens_it_is_or_nothing_does(unit, tokens):
    assert tokens_per_unit(unit, {}) == tokens


def test_an_installation_can_say_what_a_unit_is():
    assert tokens_per_unit("Units", {"units": 1_000_000}) == 1_000_000
