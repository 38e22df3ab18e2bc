"""The asset graph is golden data: keys, groups, owners, partitions, dependencies, checks, jobs and schedules.

After a change that is meant, look at the difference and accept it: pytest tests/unit/graph --snapshot-update
"""

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from tests.conftest import REPOSITORY
from tokengov_pipelines.build import build_defs
from tokengov_pipelines.jobs import (
    CLOSE_MONTH,
    DELIVER_PACKS,
    LOAD_DAYS,
    LOAD_PROVIDERS,
    LOAD_PULL_REQUESTS,
    PREPARE_MONTH,
    PUBLISH_MONTH,
)
from tokengov_pipelines.settings import Installation, Settings


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    settings = Settings(log_start=dt.date(2026, 6, 8), books_start="2026-08", as_of=dt.date(2026, 11, 5))
    return build_defs(Installation(home=tmp_path_factory.mktemp("home"), settings=settings))


def test_the_graph_is_as_agreed(definitions: dg.Definitions, snapshot: SnapshotAssertion) -> None:
    graph = definitions.resolve_asset_graph()
    assets = {}
    for key in sorted(graph.get_all_asset_keys(), key=lambda key: key.to_user_string()):
        node = graph.get(key)
        assets[key.to_user_string()] = {
            "group": node.group_name,
            "owners": sorted(map(str, node.owners)),
            "partitions": type(node.partitions_def).__name__ if node.partitions_def else None,
            "deps": sorted(parent.to_user_string() for parent in node.parent_keys),
            "checks": sorted(check.name for check in node.check_keys),
            "described": bool(node.description),
        }
    names = (
        LOAD_DAYS, LOAD_PROVIDERS, LOAD_PULL_REQUESTS, PREPARE_MONTH, CLOSE_MONTH, PUBLISH_MONTH, DELIVER_PACKS
    )  # fmt: skip
    jobs = {
        name: sorted(
            key.to_user_string() for key in definitions.resolve_job_def(name).asset_layer.executable_asset_keys
        )
        for name in names
    }
    assert {"assets": assets, "jobs": jobs} == snapshot.use_extension(JSONSnapshotExtension)


def test_every_asset_is_described_and_owned(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
    assert [node.key.to_user_string() for node in nodes if not node.description] == []
    assert [node.key.to_user_string() for node in nodes if not node.owners] == []


def test_partitions_end_where_the_installation_says(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    days = graph.get(dg.AssetKey(["raw", "litellm_spend_logs"])).partitions_def
    months = graph.get(dg.AssetKey(["marts", "fct_chargeback_monthly"])).partitions_def
    assert days is not None
    assert months is not None
    keys = days.get_partition_keys()
    assert (keys[0], keys[-1], len(keys)) == ("2026-06-08", "2026-11-04", 150)
    assert months.get_partition_keys() == ["2026-08", "2026-09", "2026-10"]


def test_definitions_load_with_an_empty_environment(tmp_path: Path) -> None:
    """No secret, no home, no network is needed to load the graph; secrets are read when a run starts."""
    script = (
        "import json, socket\n"
        "def refuse(*_): raise OSError('the network is not to be used at import')\n"
        "socket.socket.connect = refuse\n"
        "from tokengov_pipelines.definitions import defs\n"
        "print(json.dumps(len(list(defs.resolve_asset_graph().get_all_asset_keys()))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) > 30
