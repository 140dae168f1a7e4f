"""Completes what landed on a date and publishes it.

landing → validate → features → drift → shards → complete (mapped) → audit → publish → report.

Started
- by its schedule, daily at midnight UTC: the run completes the landing of the day that has just ended;
- by `airflow backfill create --dag-id nightly_completion --from-date 2017-03-01 --to-date 2017-03-02`
  (`--reprocess-behavior completed` also takes dates that were run; of these, steps whose input, model and settings are
  the same are skipped; the DAG must not be paused); both dates are included;
- by hand or by the API, without a logical date: `{"logical_date": null, "conf": {"dt": "2017-03-01"}}`.
  With a logical date instead of `dt`, Airflow takes the last interval that ended before it: the day before.

Parameters (`conf`): `dt`, the partition date; `model`, a model folder or URI (default: the champion).
A date without landing files is skipped: the run is green and nothing is published.
"""

from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, Param
from attrgan_places import FEATURES, LANDING, MACROS, SCHEMA, VALID, VALIDATED, WAREHOUSE, dt_param
from attrgan_tasks import DEFAULTS, attrgan_task, shard_places
from pendulum import datetime

DOC = __doc__ + "\nWhat to do when it fails, and how to run dates again: `docs/runbooks/backfill.md`.\n"

MODEL = "{{ params.model or registered('champion') }}"
JUDGED = "{{ judged_model() or params.model or registered('champion') }}"
SHARD = "{{ shard_of(task.out) }}"
DRIFT, OUT = "{{ place('drift') }}", "{{ task.out }}"
AUDITED, PUBLISHED = "{{ place('audit') }}", "{{ place('publish') }}"

with DAG(
    "nightly_completion",
    description="Validates, completes and publishes the landing of a date",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2017, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["attrgan", "nightly"],
    default_args=DEFAULTS,
    params={
        "dt": dt_param(),
        "model": Param(None, type=["null", "string"], description="A model folder or URI; empty: the champion"),
    },
    user_defined_macros=MACROS,
    doc_md=DOC,
):
    landing = attrgan_task("landing", ["landing", LANDING, "--dt", "{{ dt() }}"], skip_on=[3])
    validate = attrgan_task(
        "validate",
        ["validate", LANDING, "--schema", SCHEMA, "--dt", "{{ dt() }}", "--warehouse", WAREHOUSE, "-o", VALIDATED],
        heavy=True,
    )
    # One writer of the feature cache and of the tables at a time, however many dates a backfill runs side by side.
    features = attrgan_task(
        "features", ["features", VALID, "--schema", SCHEMA, "-o", FEATURES], heavy=True, max_active_tis_per_dag=1
    )
    drift = attrgan_task("drift", ["drift", VALID, "--model", MODEL, "--features", FEATURES, "-o", DRIFT], heavy=True)
    shards = shard_places(VALIDATED, "{{ place('complete') }}")
    complete = attrgan_task(
        "complete",
        ["complete", VALID, "--model", JUDGED, "--features", FEATURES, "--drift", DRIFT, "--shard", SHARD, "-o", OUT],
        heavy=True,
        each=shards,
        map_index_template=SHARD,
    )
    audit = attrgan_task("audit", ["audit", shards, "--validation", VALIDATED, "-o", AUDITED])
    publish = attrgan_task(
        "publish",
        ["publish", shards, "--validation", VALIDATED, "--warehouse", WAREHOUSE, "--dt", "{{ dt() }}", "-o", PUBLISHED],
        heavy=True,
        max_active_tis_per_dag=1,
        outlets=[Asset("attrgan_completed")],
    )
    report = attrgan_task(
        "report",
        ["report", VALIDATED, DRIFT, shards, AUDITED, PUBLISHED, "-o", "{{ place('report') }}/report.html"],
    )
    landing >> validate >> features >> drift >> shards >> complete >> audit >> publish >> report
