"""The house rules that a machine can hold: names, sizes, settings that must agree, nothing that calls home."""

import ast
import re
from importlib import resources
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY
from tokengov_pipelines.settings import Policy, Settings, SettingsError, load_installation

PACKAGES = ("tokengov_pipelines", "assets", "resources")
MODULES = sorted(
    path
    for package in PACKAGES
    for path in (REPOSITORY / package).rglob("*.py")
    if path.name != "__init__.py" and "migrations" not in path.parts
)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_module_says_what_belongs_in_it(module: Path) -> None:
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    assert docstring, "a module opens with what belongs in it"
    short = len(module.read_text(encoding="utf-8").splitlines()) < 10
    assert short or ("belong" in docstring), "and says what does not"


def test_no_module_is_a_dumping_ground() -> None:
    names = {module.stem for module in MODULES} | {module.parent.name for module in MODULES}
    assert not names & {"utils", "util", "helpers", "helper", "common", "misc"}


def test_files_stay_one_thing() -> None:
    long = {str(path): n for path in MODULES if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400}
    assert long == {}


def test_package_files_stay_empty() -> None:
    files = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("__init__.py")]
    assert files
    assert [str(path) for path in files if path.stat().st_size] == []


def test_the_shipped_policy_states_the_defaults() -> None:
    shipped = yaml.safe_load((resources.files("tokengov_pipelines") / "policy.yaml").read_text(encoding="utf-8"))
    assert Policy.model_validate(shipped) == Policy()


def test_dbt_and_policy_agree_on_the_defaults() -> None:
    project = yaml.safe_load((REPOSITORY / "dbt_project" / "dbt_project.yml").read_text(encoding="utf-8"))
    assert project["vars"]["policy"] == Policy().for_dbt()


def test_a_changed_policy_has_another_hash() -> None:
    changed = Policy.model_validate({"recon": {"cap": "50.00"}})
    assert changed.sha256() != Policy().sha256()
    assert Policy().sha256() == Policy().sha256()


def test_dbt_does_not_call_home() -> None:
    project = yaml.safe_load((REPOSITORY / "dbt_project" / "dbt_project.yml").read_text(encoding="utf-8"))
    assert project["flags"]["send_anonymous_usage_stats"] is False
    assert project["flags"]["version_check"] is False


def test_the_lock_file_has_hashes_and_no_addresses() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    pinned = re.findall(r"^[a-z0-9].*?==", lock, re.MULTILINE)
    assert len(pinned) > 100
    assert lock.count("--hash=sha256:") >= len(pinned)


def test_a_wrong_setting_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "tokengov.yaml").write_text("litellm: {reread_dayz: 3}\nbooks_start: 2026-13\n", encoding="utf-8")
    with pytest.raises(SettingsError) as error:
        load_installation(tmp_path)
    first, second = str(error.value).splitlines()
    assert first.startswith("tokengov.yaml: books_start: ")
    assert second.startswith("tokengov.yaml: litellm.reread_dayz: there is no such key. Fix:")
    (tmp_path / "tokengov.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"tokengov\.yaml is not valid YAML"):
        load_installation(tmp_path)


def test_schedules_are_off_unless_switched_on() -> None:
    assert Settings().schedules.enabled is False
