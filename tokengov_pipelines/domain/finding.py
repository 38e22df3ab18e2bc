"""What `tokengov doctor` found: one statement about one thing that was looked at, how bad it is, and the fix.

Belongs here: the shape of a finding, its levels, and taking secrets out of its words. Does not belong here: looking
(`resources.*_probe`), and what is printed (`tokengov_pipelines.doctor_cli`).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final
from urllib.parse import quote, quote_plus, unquote, urlsplit

_FIX: Final = " Fix: "
_SHORTEST_SECRET: Final = 4
# What our own texts give as an example stays readable.
_URL_LOGIN: Final = re.compile(r"(?<=://)(?!user:password@|tokengov_reader:\.\.\.@)[^\s/@]*:[^\s/]*@")
# What looks like a credential of any kind, ours or not, is not repeated (Rule 12.8).
_CREDENTIAL: Final = re.compile(
    r"\b(?:sk-(?![\w-]*\.\.\.)[\w*.-]{6,}|gh[a-z]_\w{6,}|github_pat_\w{6,}|Bearer\s+[^\s,;]{6,}|eyJ[\w-]+\.[\w-]+\.[\w-]+)"
)


class Level(StrEnum):
    """How bad it is. An error stops a load or makes a figure wrong; a warning is to be looked at."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    NOT_CONFIGURED = "not_configured"


@dataclass(frozen=True)
class Finding:
    """One statement: `source` is whom it is about, `check` what was looked at, `fix` what to do (empty where ok)."""

    source: str
    check: str
    level: Level
    text: str
    fix: str = ""

    def redacted(self, secrets: Iterable[str]) -> "Finding":
        """The same without any secret in its words."""
        known = list(secrets)
        return replace(self, text=without_secrets(self.text, known), fix=without_secrets(self.fix, known))


def ok(source: str, check: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding(source, check, Level.OK, text)


def warning(source: str, check: str, text: str, fix: str) -> Finding:
    """To be looked at."""
    return Finding(source, check, Level.WARNING, text, fix)


def error(source: str, check: str, text: str, fix: str) -> Finding:
    """To be repaired before the books can be trusted."""
    return Finding(source, check, Level.ERROR, text, fix)


def not_configured(source: str, text: str) -> Finding:
    """A source that this installation does not have."""
    return Finding(source, "configured", Level.NOT_CONFIGURED, text)


def from_error(source: str, check: str, message: str, else_fix: str = "see the runbook in docs/.") -> Finding:
    """The sentence of an error as a finding; it ends with 'Fix: ...', or gets `else_fix`."""
    text, _, fix = message.rpartition(_FIX)
    return error(source, check, (text or fix).strip(), fix.strip() if text else else_fix)


def exit_code(findings: Iterable[Finding]) -> int:
    """1 where anything is an error, else 0."""
    return int(any(finding.level is Level.ERROR for finding in findings))


def forms_of(secret: str) -> frozenset[str]:
    """A secret in every form in which it could be repeated: as it is, percent-encoded and decoded, and the parts of it.

    Of a URL the parts that authenticate are secrets as well: password and values of the query.
    """
    forms = {secret, *secret.splitlines()}
    if "://" in secret:
        forms |= _parts_of_url(secret)
    forms |= {spelled for form in set(forms) for spelled in (unquote(form), quote(form, safe=""), quote_plus(form))}
    return frozenset(form for form in forms if len(form) >= _SHORTEST_SECRET and not form.startswith("-----"))


def _parts_of_url(url: str) -> set[str]:
    # Read from the text, because a password with an unencoded '/' or '@' makes every parser cut it in another place.
    after = url.partition("://")[2]
    login = after.rpartition("@")[0]
    password = login.partition(":")[2]
    try:
        parsed = urlsplit(url).password or ""
    except ValueError:
        parsed = ""
    query = url.partition("?")[2].partition("#")[0]
    secret_values = {
        value
        for name, _, value in (part.partition("=") for part in query.split("&"))
        if re.search(r"pass|secret|token|key", name, re.IGNORECASE) and not value.startswith("/")
    }
    return {url, password, parsed, *secret_values} - {""}


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """A text without the secrets, in any of their forms, and without what looks like anybody's credential."""
    forms = {form for secret in secrets for form in forms_of(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "***")
    return _CREDENTIAL.sub("***", _URL_LOGIN.sub("***@", text))
