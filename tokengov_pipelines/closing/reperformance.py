"""Re-performance: a pack made again from its own inputs, and what differs (Rules 2.6, 11.8).

Belongs here: making the files again, and naming those that differ. Does not belong here: reading a pack's folder and
printing (`tokengov_pipelines.verify_cli`), the rules (`closed_month`).
"""

import json
from collections.abc import Mapping

from tokengov_pipelines.closing.closed_month import close_month
from tokengov_pipelines.closing.input_files import FOLDER, read_input_files
from tokengov_pipelines.closing.pack_files import pack_of
from tokengov_pipelines.pack.control_totals import CONTROL_TOTALS_JSON
from tokengov_pipelines.pack.manifest import NOT_LISTED
from tokengov_pipelines.pack.writer import PackError


def performed_again(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Every file of a pack but manifest.json and signoff.csv, made from nothing but its `inputs/`.

    Raises:
        PackError: the inputs, or the control totals that name the version, cannot be read.
    """
    try:
        version = int(json.loads(files[CONTROL_TOTALS_JSON])["version"])
    except (KeyError, ValueError, TypeError) as error:
        message = f"{CONTROL_TOTALS_JSON} does not say which version the pack is: {error!r}. Fix: restore the pack."
        raise PackError(message) from error
    sealed = {name: content for name, content in files.items() if name.startswith(FOLDER)}
    return dict(pack_of(close_month(read_input_files(sealed), version), sealed).files)


def differing(files: Mapping[str, bytes], again: Mapping[str, bytes]) -> list[str]:
    """The files that are not the same, sorted; those that only one side has are among them."""
    names = {name for name in {*files, *again} if name not in NOT_LISTED}
    return sorted(name for name in names if files.get(name) != again.get(name))


def require_same(files: Mapping[str, bytes], again: Mapping[str, bytes]) -> None:
    """Raise `PackError` where a pack is not what its own inputs make: nothing that cannot be re-performed is sealed."""
    found = differing(files, again)
    if found:
        message = (
            f"the pack is not what its inputs make ({', '.join(found)}); nothing was sealed. "
            "Fix: report it, this is a defect of the product."
        )
        raise PackError(message)
