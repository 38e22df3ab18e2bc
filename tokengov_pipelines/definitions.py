"""`defs`, the only thing Dagster is pointed at (`workspace.yaml`). Everything is assembled in `build`."""

from tokengov_pipelines.build import build_defs

defs = build_defs()
