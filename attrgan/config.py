"""The settings: one YAML file (`ATTRGAN_CONFIG`, else `attrgan.yaml` where it stands) under `ATTRGAN__…` variables.

`ATTRGAN__QUALITY__MAX_QUARANTINE_RATE=0.1` overrides `quality.max_quarantine_rate`. Secrets are never settings: object
stores, MLflow and Kubernetes take theirs from the environment. `attrgan config show` prints what is in force.
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from attrgan.errors import SettingsError

Verb = Literal[
    "landing", "validate", "features", "drift", "complete", "audit", "publish", "report",
    "train", "evaluate", "register", "compare", "promote",
]  # fmt: skip
"""The verbs that DAGs make tasks of."""

Quantity = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(m|[kMGTPE]|[KMGTPE]i)?$")]
"""An amount as Kubernetes writes it: `500m`, `2`, `6Gi`."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Quality(_Section):
    """The quality gate of `attrgan validate`."""

    max_quarantine_rate: float = Field(0.05, ge=0, le=1, description="share of rows that may be quarantined")
    min_valid_rows: int = Field(1, ge=1, description="fewer valid rows fail the gate")
    null_rate_tolerance: float = Field(0.2, ge=0, le=1, description="how far a null rate may rise above the past")


class Drift(_Section):
    """What `attrgan drift` calls drift, and what becomes of it."""

    suspend: bool = Field(True, description="whether attributes whose drift is flagged are not filled")
    limit: float = Field(0.2, ge=0, le=1, description="Jensen–Shannon distance from training that is not drift yet")
    false_alarm_rate: float = Field(
        0.01, gt=0, lt=1, description="chance of any flag on a night like the training rows"
    )
    min_cells: int = Field(30, ge=5, description="fewer cells, new or at training, are not judged")
    sample_rows: int = Field(2_000, ge=1, description="new rows whose text is read and whose cells are answered")
    ignore: list[str] = Field(default_factory=list, description="checks that suspend nothing: `price: values`")


class Completion(_Section):
    """What becomes of a completed cell, and how completion is cut into tasks."""

    review_confidence: float = Field(0.5, ge=0, le=1, description="below the threshold but above this: review")
    shard_rows: int = Field(10_000, ge=1, description="rows completed by one task, more where max_shards would not do")
    max_shards: int = Field(64, ge=1, le=1024)
    keep_decisions: int = Field(3, ge=1, description="models whose decisions stay in the feature cache")


class Promotion(_Section):
    """The gate of `attrgan compare`."""

    max_accuracy_loss: float = Field(0.01, ge=0, description="a candidate may be this much worse on an attribute")


class Tables(_Section):
    """The Delta tables of the warehouse."""

    retention_days: int = Field(
        30, ge=7, le=36500, description="history that tables keep: older states can be read, replaced files stay"
    )


class VerbPod(_Section):
    """What the pods of one verb have of their own; what is not given is as in `kubernetes`."""

    cpu: Quantity | None = None
    memory: Quantity | None = None
    node_selector: dict[str, str] | None = None
    tolerations: list[dict[str, Any]] | None = None


class S3(_Section):
    """Places on `s3://`. Credentials are no settings: environment, profile, role, or an Airflow connection."""

    endpoint_url: str | None = Field(None, pattern="^https?://", description="the server, where it is not Amazon's")
    region: str | None = Field(None, description="default: what the environment or the profile says")
    attempts: int = Field(6, ge=1, le=20, description="how often a request that fails is sent, with growing pauses")
    timeout_seconds: int = Field(30, ge=1, description="how long a request waits for the next bytes of its answer")
    airflow_conn_id: str | None = Field(None, description="the connection whose credentials local tasks of a DAG get")


class Log(_Section):
    """The log on standard error."""

    format: Literal["text", "json"] = Field("text", description="lines for people, or one JSON object a line")
    level: Literal["debug", "info", "warning", "error"] | None = Field(
        None, description="None: info in JSON and in tasks of a scheduler, else warning"
    )


class Statsd(_Section):
    """Where metrics go; nowhere without a host."""

    host: str | None = None
    port: int = Field(8125, ge=1, le=65535)
    prefix: str = Field("attrgan", pattern=r"^[A-Za-z0-9_.-]+$")


class Kubernetes(_Section):
    """How a verb becomes a pod."""

    image: str = Field("attrgan-worker:latest", description="the worker image, best by digest")
    namespace: str = "default"
    service_account: str | None = Field(None, description="of the pods; None: the namespace's default")
    in_cluster: bool = Field(True, description="Airflow runs in this cluster; false: the kubeconfig (KUBECONFIG)")
    kubernetes_conn_id: str | None = Field(None, description="an Airflow connection in place of both")
    cpu: Quantity = Field("2", description="request of the heavy verbs and of training; there is no CPU limit")
    memory: Quantity = Field("6Gi", description="request and limit of the heavy verbs and of training")
    gpu: int = Field(1, ge=0, description="GPUs of the training pod; other verbs take none")
    gpu_resource: str = "nvidia.com/gpu"
    training_pods: int = Field(1, ge=1, description="pods that train together, each with `gpu` GPUs")
    training_service: str = Field("attrgan-training", description="headless service that gives those pods their names")
    node_selector: dict[str, str] = Field(default_factory=dict, description="of the training pod")
    tolerations: list[dict[str, Any]] = Field(default_factory=list, description="of the training pod")
    verbs: dict[Verb, VerbPod] = Field(default_factory=dict, description="what single verbs have of their own")
    run_as_user: int | None = Field(
        None, ge=1, description="uid of the process; with it a pod meets the Pod Security Standard `restricted`"
    )
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    template: dict[str, Any] = Field(
        default_factory=dict, description="a pod manifest that every pod starts from: volumes, pull secrets, affinity"
    )
    pool: str = Field("default_pool", description="Airflow pool of all pods but training's")
    gpu_pool: str = Field("gpu", description="Airflow pool of training; it must count deferred tasks")
    env: dict[str, str] = Field(default_factory=dict, description="plain variables of the pod; never secrets")
    env_from_secrets: list[str] = Field(
        default_factory=list, description="names of secrets whose keys become variables"
    )
    startup_timeout_seconds: int = Field(600, ge=1, description="to be scheduled, and again to be started")


class Settings(BaseSettings):
    """All settings. Places are paths or fsspec URLs."""

    model_config = SettingsConfigDict(
        env_prefix="ATTRGAN__", env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    catalog_schema: str = Field("schema.yaml", description="the schema of the catalog the DAGs work on")
    landing: str = Field("var/landing", description="where `dt=YYYY-MM-DD` folders arrive")
    warehouse: str = Field("var/warehouse", description="Delta tables and the feature cache")
    runs: str = Field("var/runs", description="outputs and manifests of each run, by DAG, dt and task")
    tracking_uri: str = Field("sqlite:///var/mlflow/mlflow.db", description="MLflow tracking and registry")
    artifact_root: str | None = Field(
        "var/mlflow/artifacts", description="where a new MLflow experiment keeps artifacts"
    )
    ui_url: str | None = Field(None, description="base URL of the MLflow UI, for links in reports")
    runner: Literal["local", "kubernetes"] = Field("local", description="a task is a local process or a pod")
    media_root: str = Field(".", description="folder that paths in image columns must lie below")
    media_hosts: list[str] = Field(
        default_factory=list, description="hosts that image URLs may name although their address is not public"
    )
    train_arguments: list[str] = Field(
        default_factory=list, description="extra arguments of `attrgan train` in the DAG"
    )
    checkpoint_minutes: float = Field(10, gt=0, description="within an epoch, training writes a checkpoint so often")
    seed: int = 0
    quality: Quality = Quality()
    completion: Completion = Completion()
    drift: Drift = Drift()
    promotion: Promotion = Promotion()
    tables: Tables = Tables()
    s3: S3 = S3()
    log: Log = Log()
    statsd: Statsd = Statsd()
    kubernetes: Kubernetes = Kubernetes()

    @model_validator(mode="after")
    def _pods_have_secrets_of_their_own(self) -> "Settings":
        if self.runner == "kubernetes" and self.s3.airflow_conn_id:
            raise ValueError(
                "s3.airflow_conn_id is for local tasks, since a pod would show the credentials in its specification: "
                "name a secret in kubernetes.env_from_secrets, or a service account with a role, and remove it"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, the environment over the file."""
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=config_file())


def config_file() -> Path | None:
    """The YAML file in force, or None where there is none."""
    named = os.environ.get("ATTRGAN_CONFIG")
    if named and not Path(named).is_file():
        raise SettingsError(f"ATTRGAN_CONFIG names {named}, which is not a file: point it at a YAML file or unset it")
    path = Path(named or "attrgan.yaml")
    return path if path.is_file() else None


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings in force, read once per process; raises SettingsError naming the field that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        defects = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        place = config_file() or "no settings file"
        raise SettingsError(
            f"the settings are not valid ({defects}): mend them in the ATTRGAN__… variables or the file ({place}); "
            "attrgan/config.py says what each is for"
        ) from None
    except (yaml.YAMLError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(
            f"{config_file()} is not a settings file ({reason}): expected YAML with named settings"
        ) from None
