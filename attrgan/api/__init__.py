"""Every operation as a function: what the commands, the DAGs and other programs call.

Each function that writes a folder runs as one step (`attrgan.lake.manifest.step`): its files appear together or not at
all, and running it again for the same run and the same inputs does nothing. Heavy libraries are imported inside.
"""

from attrgan.api.catalogs import features, infer_schema, landing, shards, validate
from attrgan.api.completion import audit, complete, publish, report, undo, vacuum
from attrgan.api.models import drift, evaluate, train
from attrgan.api.promotion import compare, promote, register, rollback
from attrgan.api.reviews import review_export, review_import, review_stats
from attrgan.lake.manifest import Manifest

__all__ = [
    "Manifest",
    "audit",
    "compare",
    "complete",
    "drift",
    "evaluate",
    "features",
    "infer_schema",
    "landing",
    "promote",
    "publish",
    "register",
    "report",
    "review_export",
    "review_import",
    "review_stats",
    "rollback",
    "shards",
    "train",
    "undo",
    "vacuum",
    "validate",
]
