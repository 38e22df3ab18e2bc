"""`tokengov doctor`: what was found, line by line as it is found, with the fix under each problem.

Belongs here: arguments, colours, JSON, the exit code. Does not belong here: the probes (`tokengov_pipelines.doctor`).
"""

import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from tokengov_pipelines.console import HomeOption, installation_of
from tokengov_pipelines.domain.finding import Finding, Level, exit_code
from tokengov_pipelines.settings import Installation, load_installation

_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red", Level.NOT_CONFIGURED: "dim"}
_WORDS = {Level.OK: "ok", Level.WARNING: "warning", Level.ERROR: "error", Level.NOT_CONFIGURED: "-"}


def doctor(
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Look at every source and store of this home; say what to fix. Exit code 1 where anything is an error."""
    installation = installation_of(home)
    logging.getLogger("stamina").setLevel(logging.ERROR)  # a request that is repeated is no line of its own
    console = Console(file=sys.stdout)
    findings: list[Finding] = []
    with Console(stderr=True).status("looking") as status:
        for finding in _examined(installation, lambda name: status.update(f"looking at {name}")):
            if not as_json:
                _print(console, finding, is_first=not findings or findings[-1].source != finding.source)
            findings.append(finding)
    counts = Counter(finding.level for finding in findings)
    if as_json:
        report = {
            "findings": [asdict(finding) for finding in findings],
            "errors": counts[Level.ERROR],
            "warnings": counts[Level.WARNING],
        }
        sys.stdout.write(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    else:
        _summarize(console, counts)
    raise typer.Exit(exit_code(findings))


def _examined(installation: Installation, progress: Callable[[str], None]) -> Iterator[Finding]:
    """The findings, with a demo home's own Postgres and providers running meanwhile."""
    from tokengov_pipelines.demo.environment import demo_environment
    from tokengov_pipelines.doctor import examine

    with demo_environment(installation.home):
        # Read again: a demo's providers have told the environment where they are.
        yield from examine(load_installation(installation.home), progress=progress)


def _print(console: Console, finding: Finding, *, is_first: bool) -> None:
    style = _STYLES[finding.level]
    if is_first:
        console.print(Text(finding.source, style="bold"), soft_wrap=True)
    line = Text.assemble("  ", (f"{_WORDS[finding.level]:<8}", style), f"{finding.check}: {finding.text}")
    console.print(line, soft_wrap=True)
    if finding.fix:
        console.print(Text.assemble("          ", ("Fix: ", "bold"), finding.fix), soft_wrap=True)


def _summarize(console: Console, counts: Counter[Level]) -> None:
    errors, warnings = counts[Level.ERROR], counts[Level.WARNING]
    style = "red" if errors else "yellow" if warnings else "green"
    text = f"{_number(errors, 'error')}, {_number(warnings, 'warning')}, {counts[Level.OK]} ok"
    absent = counts[Level.NOT_CONFIGURED]
    console.print(Text(f"{text}, {absent} not configured" if absent else text, style=style), soft_wrap=True)


def _number(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
