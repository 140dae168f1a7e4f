"""Makes the candidate the champion: validate → compare on the same held-out rows → approval → promote.

Started by hand or by the API, `dt` being the last landing partition that is compared on:
`{"logical_date": null, "conf": {"dt": "2017-03-02"}}`.

Parameters (`conf`): `dt`. The task `approval` waits for an answer, in the UI (Required Actions) or by
`PATCH /api/v2/dags/promote_model/dagRuns/{run_id}/taskInstances/approval/-1/hitlDetails` with
`{"chosen_options": ["Approve"], "params_input": {}}`. "Reject" skips the promotion and the run is green; no answer
within a week fails it. When the gate of `compare` says no, the run fails before anybody is asked. `promote` checks
the comparison again: a champion that has changed meanwhile is not replaced. `attrgan rollback` goes back.
"""

from datetime import timedelta

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Asset
from attrgan_places import LANDING, MACROS, SCHEMA, VALID, VALIDATED, WAREHOUSE, dt_param
from attrgan_tasks import DEFAULTS, attrgan_task
from pendulum import datetime

DOC = __doc__ + "\nHow to decide, and how to go back: `docs/runbooks/promotion.md`.\n"

CANDIDATE, COMPARED = "{{ registered('candidate') }}", "{{ place('compare') }}"

with DAG(
    "promote_model",
    description="Compares candidate and champion, asks a person, moves the alias",
    schedule=None,
    start_date=datetime(2017, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["attrgan", "promotion"],
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
    compare = attrgan_task(
        "compare",
        ["compare", CANDIDATE, "--champion", "{{ registered('champion') }}", VALID, "-o", COMPARED],
        heavy=True,
    )
    approval = ApprovalOperator(
        task_id="approval",
        subject=f"Promote {CANDIDATE} to champion?",
        body="{{ comparison() }}",
        response_timeout=timedelta(days=7),
        retries=0,  # asking again after a week without an answer helps nobody
    )
    promote = attrgan_task(
        "promote",
        ["promote", "--comparison", COMPARED],
        outlets=[Asset("attrgan_champion")],
    )
    validate >> compare >> approval >> promote
