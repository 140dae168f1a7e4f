"""Trains a model on the catalog as it was on a date, and registers it as candidate.

validate → features → train → evaluate → register.

Started by hand or by the API, `dt` being the last landing partition to learn from:
`{"logical_date": null, "conf": {"dt": "2017-03-02"}}`.

Parameters (`conf`): `dt`. Extra arguments of `attrgan train` come from the setting `train_arguments`.
The new version gets the alias `candidate`, and the asset `attrgan_candidate` is updated; `promote_model` decides.
"""

from airflow.sdk import DAG, Asset
from attrgan_places import FEATURES, LANDING, MACROS, SCHEMA, VALID, VALIDATED, WAREHOUSE, dt_param
from attrgan_tasks import DEFAULTS, attrgan_task
from pendulum import datetime

from attrgan.config import settings

DOC = __doc__ + "\nFrom a candidate to the champion, and back: `docs/runbooks/promotion.md`.\n"

MODEL = "{{ place('train') }}"
TRAIN = ["train", VALID, "--schema", SCHEMA, "--features", FEATURES, "--reviews", WAREHOUSE]

with DAG(
    "train_model",
    description="Trains a model on everything that landed until a date and registers it as candidate",
    schedule=None,
    start_date=datetime(2017, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["attrgan", "training"],
    default_args=DEFAULTS,
    params={"dt": dt_param()},
    user_defined_macros=MACROS,
    doc_md=DOC,
):
    validate = attrgan_task(
        "validate",
        ["validate", LANDING, "--schema", SCHEMA, "--until", "{{ dt() }}", "--warehouse", WAREHOUSE, "-o", VALIDATED],
        heavy=True,
    )
    features = attrgan_task("features", ["features", VALID, "--schema", SCHEMA, "-o", FEATURES], heavy=True)
    train = attrgan_task(
        "train",
        # --resume: a retry goes on from the last checkpoint; a new run has none.
        [*TRAIN, *settings().train_arguments, "--resume", "-o", MODEL],
        gpu=True,
    )
    evaluate = attrgan_task(
        "evaluate",
        ["evaluate", VALID, "--model", MODEL, "--features", FEATURES, "-o", "{{ place('evaluate') }}"],
        heavy=True,
    )
    register = attrgan_task(
        "register",
        ["register", MODEL, "--evaluation", "{{ place('evaluate') }}", "-o", "{{ place('register') }}"],
        outlets=[Asset("attrgan_candidate")],
    )
    validate >> features >> train >> evaluate >> register
