"""The installation as a Dagster resource: paths, settings and policy of one home folder.

Belongs here: handing `tokengov_pipelines.settings.Installation` to assets.
Does not belong here: any connection; secrets.
"""

from functools import cached_property

import dagster as dg

from tokengov_pipelines.settings import Installation, load_installation


class Home(dg.ConfigurableResource):
    """One installation, read from its files once per process."""

    path: str

    @cached_property
    def _loaded(self) -> Installation:
        return load_installation(self.path)

    @property
    def installation(self) -> Installation:
        """Settings, policy and paths."""
        return self._loaded
