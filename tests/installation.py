"""A small installation for tests: home folder, org directory, invoices; its calls are inserted into a real Postgres."""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from resources.litellm import LiteLLMPostgres
from tokengov_pipelines.runner import RunReport, run_job
from tokengov_pipelines.settings import Installation, load_installation

COST_CENTERS = """code,name,legal_entity,valid_from,valid_to,successor
CC-100,Shop,ACME-US,2020-01-01,,
CC-200,Search,ACME-US,2020-01-01,,
CC-900-SUSPENSE,Suspense,ACME-US,2020-01-01,,
CC-990-CENTRAL,Central,ACME-US,2020-01-01,,
"""
TEAMS = """team_id,team_name,cost_center,time_zone,lead_email,owner_contact,valid_from,valid_to
team-shop,Shop,CC-100,UTC,lead@example.com,#shop,2020-01-01,
team-search,Search,CC-200,UTC,lead@example.com,#search,2020-01-01,
"""
USERS = """email,user_id,github_login,team_id,valid_from,valid_to
ana@example.com,ana@example.com,ana,team-shop,2020-01-01,
"""


class TestHome:
    """An installation in a folder, with the proxy's database it reads."""

    __test__ = False

    def __init__(self, folder: Path, url: str, **settings: object) -> None:
        self.folder, self.url = folder, url
        self.write("directory/cost_centers.csv", COST_CENTERS)
        self.write("directory/teams.csv", TEAMS)
        self.write("directory/users.csv", USERS)
        (folder / "invoices").mkdir(exist_ok=True)
        lines = [f"{name}: {json.dumps(value)}" for name, value in settings.items()]
        self.write("tokengov.yaml", "\n".join(lines) + "\n")

    def write(self, name: str, text: str) -> Path:
        """Write a file under the home."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    @property
    def installation(self) -> Installation:
        """Read again at each use, as a new process would."""
        return load_installation(self.folder)

    def run(
        self, job: str, first: str, last: str | None = None, config: Mapping[str, object] | None = None
    ) -> RunReport:
        """Run one of the production jobs against this home."""
        return run_job(
            self.installation,
            job,
            first=first,
            last=last,
            config=config,
            resource_overrides={"litellm": LiteLLMPostgres(url=self.url)},
        )

    def invoice(self, provider: str, month: str, total: str, last_day: str, **header: str) -> Path:
        """An invoice of one line without quantity; returns its file."""
        amount = str(Decimal(total))
        content = {
            "form": "tokengov-invoice/1",
            "provider": provider,
            "account": "acme",
            "invoice_id": f"{provider.upper()}-{month}",
            "invoice_date": last_day,
            "period_start": f"{month}-01",
            "period_last_day": last_day,
            "currency": "USD",
            "lines": [{"line_no": 1, "kind": "usage", "description": "API usage", "amount": amount}],
            "lines_total": amount,
            "credits_total": "0.00",
            "tax_total": "0.00",
            "total": amount,
            **header,
        }
        return self.write(f"invoices/{provider}-{month}.json", json.dumps(content, indent=1))

    def exports(self) -> dict[str, bytes]:
        """Every exported file with its bytes: derived tables and packs."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for root in ("tables", "packs")
            for path in sorted((self.folder / root).rglob("*"))
            if path.is_file()
        }
