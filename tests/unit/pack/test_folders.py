"""Folders appear whole, in one step where the system can."""

import shutil
import subprocess

import pytest

from tokengov_pipelines.pack import folders
from tokengov_pipelines.pack.folders import Placed, place_folder
from tokengov_pipelines.pack.manifest import content_sha256
from tokengov_pipelines.pack.writer import PackError

FILES = {"chargeback.csv": b"a,b\n1,2\n", "inputs/invoices.json": b"{}\n"}


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_folder_a_changed_one_and_the_same_one(tmp_path):
    steps = []
    target = tmp_path / "packs" / "2026-08" / "v0"
    assert place_folder(target, FILES, steps.append) is Placed.NEW
    assert place_folder(target, FILES, steps.append) is Placed.UNCHANGED
    assert place_folder(target, {"other.csv": b"x\n"}, steps.append) is Placed.REPLACED
    assert content(target) == {"other.csv": b"x\n"}
    assert [path.name for path in target.parent.iterdir()] == ["v0"]
    assert steps == ["written", "placed", "written", "placed"]


def test_files_that_only_say_when_do_not_make_a_folder_another(tmp_path):
    target = tmp_path / "v0"
    place_folder(target, {**FILES, "manifest.json": b"1"}, lambda _: None)
    later = {**FILES, "manifest.json": b"2"}
    assert place_folder(target, later, lambda _: None, ignoring={"manifest.json"}) is Placed.UNCHANGED
    assert content(target)["manifest.json"] == b"1"
    assert place_folder(target, FILES, lambda _: None, ignoring={"manifest.json"}) is Placed.REPLACED  # it is gone
    assert place_folder(target, later, lambda _: None, ignoring={"manifest.json"}) is Placed.REPLACED  # it is new
    assert place_folder(target, {**later, "chargeback.csv": b""}, lambda _: None) is Placed.REPLACED
    assert content(target)["manifest.json"] == b"2"


def test_what_killed_runs_left_beside_the_target_is_removed(tmp_path):
    target = tmp_path / "v0"
    for left_over in (".v0.partial", ".v0.aside"):
        (tmp_path / left_over).mkdir()
        (tmp_path / left_over / "half.csv").write_bytes(b"half")
    assert place_folder(target, FILES, lambda _: None) is Placed.NEW
    assert [path.name for path in tmp_path.iterdir()] == ["v0"]


def test_two_folders_are_exchanged_in_one_step(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / folder.name).touch()
    if not folders._exchanged(one, other):
        pytest.skip("this system cannot exchange two folders in one step")
    assert [path.name for path in one.iterdir()] == ["other"]
    assert [path.name for path in other.iterdir()] == ["one"]


def test_the_system_says_no_when_there_is_nothing_to_exchange(tmp_path):
    (tmp_path / "one").mkdir()
    assert not folders._exchanged(tmp_path / "one", tmp_path / "missing")


def test_without_the_one_step_the_swap_takes_three(tmp_path):
    new, current, aside = tmp_path / "new", tmp_path / "current", tmp_path / "aside"
    for folder in (new, current):
        folder.mkdir()
        (folder / folder.name).touch()
    folders.rename_in_three_steps(new, current, aside)
    assert [path.name for path in current.iterdir()] == ["new"]
    assert [path.name for path in new.iterdir()] == ["current"]
    assert not aside.exists()


@pytest.mark.parametrize("name", ["../escape.csv", "/etc/passwd", "", "a/../../b.csv"])
def test_a_name_that_leaves_the_pack_is_refused(tmp_path, name):
    with pytest.raises(PackError, match="is not a path inside a pack"):
        place_folder(tmp_path / "v0", {name: b""}, lambda _: None)
    assert not (tmp_path / "v0").exists()


def test_the_content_hash_can_be_checked_with_ordinary_tools(tmp_path):
    if not shutil.which("sha256sum"):
        pytest.skip("needs sha256sum: apt-get install coreutils")
    files = {"chargeback.csv": b"a\n", "b.csv": b"b\n", "inputs/x.json": b"{}\n", "control_totals.json": b"{}"}
    files |= {"signoff.csv": b"s", "manifest.json": b"{}"}
    place_folder(tmp_path / "v1", files, lambda _: None)
    command = "sha256sum chargeback.csv b.csv inputs/x.json | LC_ALL=C sort | sha256sum"
    said = subprocess.run(["sh", "-c", command], cwd=tmp_path / "v1", capture_output=True, text=True, check=True)
    assert said.stdout.split()[0] == content_sha256(files)
