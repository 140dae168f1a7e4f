"""What people are asked and what they answered."""

from functools import partial
from typing import Any

from attrgan.config import settings
from attrgan.errors import GateError
from attrgan.lake import manifest, storage
from attrgan.lake.manifest import Manifest


def review_export(
    warehouse: str, out: str, *, schema: str | None = None, purpose: str = "queue", dt: str | None = None,
    attribute: str | None = None, limit: int = 200, seed: int | None = None,
) -> Manifest:  # fmt: skip
    """Writes the sheet of what people are asked; see `attrgan.review.queue` for which cells and in which order.

    Args:
        schema: file; None: the schema that the warehouse was published with.
        purpose: `queue` or `audit`.
        dt: only items whose newest version is of this date; attribute: only this one.
        limit: rows of the queue, or cells of each attribute that the audit's sample is to have.
        seed: of the audit's sample; None: the setting.
    """
    from attrgan.review import answers, queue, sheet
    from attrgan.review.cells import Warehouse

    opened = Warehouse.open(warehouse, schema)
    sheet.check_place(out, opened.schema.id, partial(answers.unsaved, opened))
    cells = queue.choose(opened, purpose, dt, attribute, limit, settings().seed if seed is None else seed)
    sheet.write(sheet.build(opened, cells, purpose), out)
    counts = {"rows": len(cells), "attributes": int(cells["attribute"].nunique())}
    return {"verb": "review export", "purpose": purpose, "outputs": [out], "counts": counts}


def review_import(
    file: str, warehouse: str, *, schema: str | None = None, replace: bool = False, new_values: bool = False,
    reviewer: str | None = None,
) -> Manifest:  # fmt: skip
    """Adds a sheet's answers to the table `reviews`; raises GateError when rows were refused (`<file>.refused.csv`).

    Args:
        replace: answers that differ from earlier ones take their place.
        new_values: categorical values that stand nowhere in the catalog are answers too.
        reviewer: who answered, where the sheet does not say.
    """
    from attrgan.review import answers, sheet
    from attrgan.review.cells import Warehouse

    opened = Warehouse.open(warehouse, schema)
    rows, given = sheet.read(file, opened.schema.id)
    options = {"replace": replace, "new_values": new_values}
    done = answers.import_answers(opened, given, manifest.content_hash(file), reviewer=reviewer, **options)
    counts, refused = done.counts(len(rows)), sheet.write_refused(rows, done.refused, file)
    if refused:
        raise GateError(f"review import: {answers.sentence(counts)}; mend {refused} and import it")
    return {
        "verb": "review import",
        "said": answers.sentence(counts),
        "outputs": [storage.join(warehouse, answers.TABLE)],
        "counts": counts,
    }


def review_stats(warehouse: str, *, schema: str | None = None) -> dict[str, dict[str, Any]]:
    """Per attribute: the queue, the answers, how often the model was right, audit labels there are and are needed."""
    from attrgan.review.cells import Warehouse
    from attrgan.review.stats import stats

    return stats(Warehouse.open(warehouse, schema))
