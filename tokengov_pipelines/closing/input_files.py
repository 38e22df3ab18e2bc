"""A pack's `inputs/` folder: the month's inputs as Parquet, JSON and YAML, and back (Rule 11.1).

Belongs here: one file a table, `facts.json`, `slugs.json`, `policy.yaml`; the same inputs give the same bytes. Does not
belong here: what the inputs are (`inputs`), which hash they get (`pack.manifest`).
"""

import io
import json
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import TypeAdapter, ValidationError

from tokengov_pipelines.closing.inputs import TABLE_COLUMNS, MonthFacts, MonthInputs
from tokengov_pipelines.pack.writer import PackError
from tokengov_pipelines.policy import Policy

FOLDER: Final = "inputs/"
FACTS: Final = f"{FOLDER}facts.json"
SLUGS: Final = f"{FOLDER}provider_slugs.json"
POLICY: Final = f"{FOLDER}policy.yaml"

_FACTS: Final = TypeAdapter(MonthFacts)


def input_files(inputs: MonthInputs) -> dict[str, bytes]:
    """The files of `inputs/`, by their path in the pack."""
    files = {f"{FOLDER}{name}.parquet": _parquet(content) for name, content in sorted(inputs.tables.items())}
    files[FACTS] = _json(_FACTS.dump_python(inputs.facts, mode="json"))
    files[SLUGS] = _json(dict(sorted(inputs.slugs.items())))
    policy = yaml.safe_dump(inputs.policy.model_dump(mode="json"), sort_keys=True, allow_unicode=True)
    files[POLICY] = policy.encode("utf-8")
    return files


def read_input_files(files: Mapping[str, bytes]) -> MonthInputs:
    """The inputs that a pack was made from; `files` may be the whole pack.

    Raises:
        PackError: a file is missing or cannot be read; the text names it.
    """
    absent = [name for name in (FACTS, SLUGS, POLICY) if name not in files]
    if absent:
        message = f"the pack has no {', '.join(absent)}. Fix: it was sealed without inputs, or files were taken out."
        raise PackError(message)
    tables = {
        name: _read_parquet(f"{FOLDER}{name}.parquet", files[f"{FOLDER}{name}.parquet"])
        for name in TABLE_COLUMNS
        if f"{FOLDER}{name}.parquet" in files
    }
    try:
        facts = _FACTS.validate_json(files[FACTS])
        policy = Policy.model_validate(yaml.safe_load(files[POLICY]))
        slugs = json.loads(files[SLUGS])
    except (ValidationError, ValueError, yaml.YAMLError) as error:
        message = f"the pack's facts.json, policy.yaml or provider_slugs.json cannot be read: {error}. Fix: restore it."
        raise PackError(message) from error
    return MonthInputs(facts, policy, tables, slugs)


def _parquet(content: pa.Table) -> bytes:
    """No statistics of the writer's machine are in it: one row group, no pandas or other metadata."""
    buffer = io.BytesIO()
    plain = content.replace_schema_metadata(None).combine_chunks()
    pq.write_table(plain, buffer, compression="zstd", row_group_size=max(1, plain.num_rows), store_schema=True)
    return buffer.getvalue()


def _read_parquet(name: str, content: bytes) -> pa.Table:
    try:
        return pq.read_table(pa.BufferReader(content), partitioning=None)
    except (pa.ArrowInvalid, OSError) as error:
        message = f"{name} is no Parquet file that can be read: {error}. Fix: restore the pack."
        raise PackError(message) from error


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n").encode("utf-8")
