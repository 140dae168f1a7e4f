"""The MLflow store: the one place that opens it, keeps it quiet and puts its failures into words.

Choices: the store is the one of the settings (SQLite here, a server by setting); MLflow's chatter, progress bars and
telemetry are off; an address is shown without its password, in messages and in errors of MLflow that quote it.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrgan.config import settings
from attrgan.errors import AttrGANError, SettingsError
from attrgan.lake import s3

if TYPE_CHECKING:
    from mlflow import MlflowClient

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
}
_CREDENTIALS = re.compile(
    r"(?<=://)[^/\s]*@"  # up to the last @ before the path
    r"|(?<=sql://)\S*@|(?<=sql\+)(\w+://)\S*@"  # in URLs of databases a password may have slashes
)
_PASSWORDS = re.compile(r"(?i)(?<=[?&])(password|passwd|pwd|sslpassword|token|secret)=[^&\s]*")


def masked(text: str) -> str:
    """The text with `***` in place of the credentials of every URL in it."""
    return _PASSWORDS.sub(r"\1=***", _CREDENTIALS.sub(lambda found: f"{found[1] or ''}***@", text))


def in_one_line(error: Exception) -> str:
    """The message of an error, without credentials, shortened to one line."""
    return masked(" ".join(str(error).split()))[:300]


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store, or None for another store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def model_name(entity: str) -> str:
    """The registered model (and experiment) of an entity: `attrgan-<entity>`."""
    return "attrgan-" + re.sub(r"[^\w.-]+", "-", entity)


@contextmanager
def store() -> Iterator["MlflowClient"]:
    """The MLflow store of the settings, as a client; the fluent functions of MLflow use the same store.

    Raises:
        SettingsError: the store cannot be reached or refused what was asked; the address is shown without password.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    s3.prepare()
    uri = settings().tracking_uri
    _make_room(uri)
    try:
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        yield mlflow.MlflowClient(uri, uri)
    except AttrGANError:
        raise
    except Exception as error:
        if told := s3.explained(error):
            raise told from None
        if not _of_the_store(error):
            raise
        raise SettingsError(
            f"the MLflow store {masked(uri)} failed ({in_one_line(error)}): see that it runs and that `tracking_uri` "
            "names it"
        ) from None


def _make_room(uri: str) -> None:
    """Makes the folder of a SQLite store."""
    if file := sqlite_file(uri):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"no MLflow store can be made at {uri} ({error}): correct `tracking_uri`") from None


def _of_the_store(error: Exception) -> bool:
    """Whether the error comes from MLflow, its database (or a driver that is missing), its server or object store."""
    module = type(error).__module__.partition(".")[0]
    return module in ("mlflow", "sqlalchemy", "requests", "urllib3", "boto3", "botocore") or isinstance(
        error, ModuleNotFoundError
    )


def found(call: Any, *arguments: Any) -> Any:
    """What a look-up of the client returns, or None where MLflow says that it does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        return call(*arguments)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def experiment(client: "MlflowClient", name: str) -> str:
    """The id of an experiment, created where there is none.

    A server decides where artifacts go unless `artifact_root` is a URL: a path of this machine says nothing to it.

    Raises:
        SettingsError: the experiment was deleted in MLflow.
    """
    known = client.get_experiment_by_name(name)
    if known is None:
        return str(client.create_experiment(name, artifact_location=_artifact_location(name)))
    if known.lifecycle_stage != "active":
        restore = f"mlflow experiments restore -x {known.experiment_id}"
        raise SettingsError(f"the MLflow experiment {name} was deleted: restore it (`{restore}`)")
    return str(known.experiment_id)


def _artifact_location(name: str) -> str | None:
    root, uri = settings().artifact_root, settings().tracking_uri
    if not root:
        return None
    if "://" in root or root.startswith("mlflow-artifacts:"):
        return f"{root.rstrip('/')}/{name}"
    return None if uri.startswith(("http://", "https://")) else (Path(root).absolute() / name).as_uri()
