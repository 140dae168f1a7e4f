"""Credentials for `s3://` out of an Airflow connection (the setting `s3.airflow_conn_id`).

The connection is resolved when a task runs, on the worker, and handed to the verb's process as variables: they are
neither rendered nor logged (Airflow masks them besides), and are gone with the process. A connection of the type `aws`
may also assume a role, and name endpoint and region; the settings `s3.endpoint_url` and `s3.region` win over it.
Pods take their credentials from Kubernetes, and `attrgan.config` refuses both at once.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from attrgan.config import settings


def environment() -> dict[str, str]:
    """The variables of a process on this machine: those of this one, with the credentials of the connection.

    Raises AirflowFailException where the connection is not there or holds no credentials.
    """
    here = dict(os.environ)
    conn_id = settings().s3.airflow_conn_id
    if conn_id is None:
        return here
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    try:
        AwsBaseHook.get_connection(conn_id)  # the hook itself would go on with what this machine has
        hook = AwsBaseHook(aws_conn_id=conn_id, client_type="s3", region_name=settings().s3.region)
        found = hook.get_credentials()
    except (AirflowNotFoundException, AttributeError):
        raise AirflowFailException(
            f"the setting s3.airflow_conn_id names {conn_id}, which is no connection with credentials: add one of type "
            "aws, or remove the setting"
        ) from None
    given = {
        "AWS_ACCESS_KEY_ID": found.access_key,
        "AWS_SECRET_ACCESS_KEY": found.secret_key,
        "AWS_SESSION_TOKEN": found.token,
        "AWS_ENDPOINT_URL_S3": hook.conn_config.get_service_endpoint_url("s3"),
        "AWS_REGION": hook.region_name,
        "AWS_DEFAULT_REGION": hook.region_name,
    }
    here.pop("AWS_SESSION_TOKEN", None)  # of other credentials
    return here | {name: value for name, value in given.items() if value}


@contextmanager
def signed_in() -> Iterator[None]:
    """This process with those variables, for what reads a place in it."""
    before = dict(os.environ)
    _become(environment())
    try:
        yield
    finally:
        _become(before)


def _become(variables: dict[str, str]) -> None:
    """Makes these the variables of this process."""
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)
