"""Which date a DAG run is about and where its files are: the macros of every template in `dags/`.

`dt` is the parameter `dt` if it is given, else the date on which the run's data interval starts. It is never the clock:
a run that has neither fails, saying so. Every task of a run writes to `<runs>/<dag_id>/<dt>/<run_id>/<task>`, so that a
cleared or retried task meets its own manifest again and nobody else's.
"""

import re
from datetime import date
from html import escape
from typing import Any

from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException
from attrgan_s3 import signed_in
from jinja2 import pass_context

from attrgan.config import settings

LANDING = "{{ settings().landing }}"
SCHEMA = "{{ settings().catalog_schema }}"
WAREHOUSE = "{{ settings().warehouse }}"
FEATURES = "{{ settings().warehouse }}/features"
VALIDATED = "{{ place('validate') }}"
VALID = VALIDATED + "/valid.parquet"


def dt_param() -> Param:
    """The parameter `dt` of a DAG: YYYY-MM-DD, or nothing where the data interval tells."""
    text = "The partition date, YYYY-MM-DD. A run without a data interval (started by hand or by the API) needs it."
    return Param(None, type=["null", "string"], format="date", description=text)


@pass_context
def dt(context: Any) -> str:
    """The partition date of the run, YYYY-MM-DD; fails a run that has none, without retries."""
    given, run = context["params"].get("dt"), context["dag_run"]
    if given is None and run.data_interval_start is None:
        raise AirflowFailException(
            f"run {run.run_id} of {run.dag_id} has no date: it was started without a logical date, "
            'so give it the parameter dt, for example {"dt": "2017-03-01"}'
        )
    return date.fromisoformat(given).isoformat() if given else f"{run.data_interval_start:%Y-%m-%d}"


@pass_context
def place(context: Any, task_id: str) -> str:
    """The folder (path or URL) in which a task of this run writes."""
    run = context["dag_run"]
    folder = re.sub(r"[^A-Za-z0-9._-]|^\.+$", "_", run.run_id)
    return "/".join([settings().runs.rstrip("/"), run.dag_id, dt(context), folder, task_id])


def shard_place(parent: str, shard: str) -> str:
    """The folder of one shard: `0/3` becomes `<parent>/0-of-3`."""
    return f"{parent}/{shard.replace('/', '-of-')}"


def shard_of(place: str) -> str:
    """The shard that a folder made by `shard_place` belongs to."""
    return place.rsplit("/", 1)[-1].replace("-of-", "/")


def registered(alias: str) -> str:
    """The model URI of an alias, for the entity of the schema in force: `models:/attrgan-product@champion`."""
    from attrgan.schema import Schema
    from attrgan.tracking import model_name

    with signed_in():
        return f"models:/{model_name(Schema.load(settings().catalog_schema).entity)}@{alias}"


@pass_context
def judged_model(context: Any) -> str | None:
    """The model by which `drift` of this run judged, an alias as a version: a later promotion is for the next run."""
    from attrgan.lake import manifest

    with signed_in():
        found = manifest.read(place(context, "drift")) or {}
    return found.get("model")


@pass_context
def comparison(context: Any) -> str:
    """What the person who approves should know, in Markdown: who is compared, with the figures by attribute."""
    from attrgan.lake import storage

    where = place(context, "compare")
    with signed_in():
        found = storage.read_json(f"{where}/comparison.json")
    names = ["n", "candidate", "champion", "baseline", "difference", "promised_precision", "realised_precision"]
    rows = found["attributes"] | {"mean": found["mean"]}
    table = [["attribute", *(name.replace("_", " ") for name in names)], ["---"] * (len(names) + 1)]
    table += [[_cell(attribute), *(_cell(row.get(name)) for name in names)] for attribute, row in rows.items()]
    head = f"Candidate **{found['candidate']}**, champion **{found['champion'] or 'none yet'}**. All of it: `{where}`"
    return head + "\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in table)


def _cell(value: Any) -> str:
    """A figure or a name in a Markdown table; a name is data, so nothing in it may be markup."""
    if isinstance(value, float):
        return f"{value:.3f}"
    return "" if value is None else escape(str(value)).replace("|", "&#124;")


MACROS = {
    "settings": settings,
    "dt": dt,
    "place": place,
    "shard_of": shard_of,
    "registered": registered,
    "judged_model": judged_model,
    "comparison": comparison,
}
"""For `user_defined_macros` of every DAG."""
