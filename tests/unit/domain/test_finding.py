"""What the doctor found: levels, the exit code, and words without secrets."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.finding import (
    Finding,
    Level,
    error,
    exit_code,
    from_error,
    not_configured,
    ok,
    warning,
    without_secrets,
)

PASSWORD = "pl4nted/p@ss%word"
URL = f"postgresql://reader:{quote(PASSWORD, safe='')}@host:5432/db?sslpassword=0ther-secret&host=/var/run"


def test_only_an_error_ends_with_one() -> None:
    fine = [ok("a", "b", "c."), warning("a", "b", "c.", "d."), not_configured("a", "c.")]
    assert exit_code(fine) == 0
    assert exit_code([*fine, error("a", "b", "c.", "d.")]) == 1
    assert exit_code([]) == 0


def test_an_errors_sentence_is_divided_at_its_last_fix() -> None:
    found = from_error("LiteLLM", "reachable", "it said Fix: nothing. Fix: call somebody.")
    assert found == Finding("LiteLLM", "reachable", Level.ERROR, "it said Fix: nothing.", "call somebody.")
    assert from_error("a", "b", "no more words", "try again.").fix == "try again."
    assert from_error("a", "b", "no more words").text == "no more words"


@pytest.mark.parametrize(
    "said",
    [
        f"could not connect to {URL}",
        f"refused {PASSWORD}",
        f"refused {quote(PASSWORD, safe='')}",
        "refused 0ther-secret",
        f"at postgresql://reader:{PASSWORD}@host",
    ],
)
def test_a_url_is_hidden_whole_and_in_its_parts(said: str) -> None:
    shown = without_secrets(said, [URL])
    assert [word for word in ("pl4nted", "p@ss", "0ther") if word in shown] == []
    assert "***" in shown


def test_an_unencoded_password_is_hidden_although_no_parser_finds_it() -> None:
    url = f"postgresql://reader:{PASSWORD}@host/db"
    assert without_secrets(f"invalid token: {PASSWORD}", [url]) == "invalid token: ***"


def test_every_line_of_a_private_key_is_hidden() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nq8Qz7PLANTED\n-----END RSA PRIVATE KEY-----"
    assert without_secrets("in q8Qz7PLANTED and MIIEpAIBAAKCAQEA", [key]) == "in *** and ***"
    assert without_secrets("-----BEGIN RSA PRIVATE KEY-----", [key]) == "-----BEGIN RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    "credential",
    ["sk-ant-admin01-abcdef123", "sk-proj-abcdef", "ghp_abcdefghijk", "github_pat_11ABCDEF0", "Bearer abc.def.ghi"],
)
def test_anybodys_credential_is_hidden(credential: str) -> None:
    assert without_secrets(f"not with {credential}, no", []) == "not with ***, no"


def test_examples_of_our_own_texts_stay_readable() -> None:
    said = "write postgresql://tokengov_reader:...@host:5432/litellm or postgresql://user:password@host, (sk-admin-...)"
    assert without_secrets(said, ["pl4nted-key"]) == said


@given(st.text(min_size=4, max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_a_secret_is_gone_whatever_stands_around_it(secret: str, before: str, after: str) -> None:
    shown = without_secrets(f"{before}{secret}{after}", [secret])
    assert secret not in shown.replace("***", "\0") or "*" in secret


def test_a_finding_is_redacted_in_text_and_fix() -> None:
    found = error("a", "b", "with s3cr3t-key", "not s3cr3t-key").redacted(["s3cr3t-key"])
    assert (found.text, found.fix) == ("with ***", "not ***")
