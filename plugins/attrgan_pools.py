"""Makes the pools in which pods wait, where they are missing when Airflow starts.

A task whose pool is missing is never scheduled, and only the scheduler's own log says so. Tasks have no way to the
database; the scheduler and its like have, so this is a listener in them. A pool that is there is somebody's decision
and left alone, but one for training that does not count deferred tasks limits nothing, which the log then says.
"""

import logging
from typing import Any, ClassVar

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from attrgan.config import settings

log = logging.getLogger(__name__)

SLOTS = {"gpu_pool": 1, "pool": 16}
"""Of a pool that is made; to be changed in the UI or by `airflow pools set`."""


class Start:
    """Listens for the start of Airflow's components."""

    @hookimpl
    def on_starting(self, component: Any) -> None:
        """Makes the pools where tasks are pods; `component` is a `Job` in all that have the database, elsewhere not."""
        if type(component).__name__ == "Job" and settings().runner == "kubernetes":
            make_missing_pools()


def make_missing_pools() -> None:
    """Makes the pools of the settings that are missing."""
    from airflow.models.pool import Pool

    for kind, slots in SLOTS.items():
        name, training = getattr(settings().kubernetes, kind), kind == "gpu_pool"
        found = Pool.get_pool(name)
        if found is None:
            about = "attrgan: training pods" if training else "attrgan: pods of all verbs but training"
            Pool.create_or_update_pool(name, slots, about, include_deferred=training)
            log.warning("attrgan: made the missing pool %s with %d slots", name, slots)
        elif training and not found.include_deferred:
            log.warning(
                "attrgan: pool %s does not count deferred tasks, so it does not limit training: "
                "`airflow pools set %s %d '%s' --include-deferred`",
                *(name, name, found.slots, found.description or ""),
            )


class AttrganPools(AirflowPlugin):
    """Tells Airflow about the listener."""

    name = "attrgan_pools"
    listeners: ClassVar[list[Any]] = [Start()]
