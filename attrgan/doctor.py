"""`attrgan doctor`: what is missing on this machine, and what to do about it.

Choices: it looks and never writes; packages are looked up, not imported (torch and MLflow take seconds); a check fails
only where a verb would; addresses are shown without credentials.
"""

import os
import re
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import attrgan
from attrgan import tracking
from attrgan.config import Settings, config_file, settings
from attrgan.errors import AttrGANError
from attrgan.features import pretrained
from attrgan.lake import storage
from attrgan.schema import Encoders, Schema

TIMEOUT = 1.5
"""Seconds a server may take to answer."""
FREE_GB = 2.0
"""Less free disk space than this fails: a training with its feature cache stays below it."""


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was found and, where `ok` is false, what to do."""

    name: str
    ok: bool
    found: str
    advice: str | None = None


def doctor() -> list[Check]:
    """Every check, in the order a person would work through them. Raises nothing: a check that fails says so."""
    checks = [_guarded("python", _python), _guarded("packages", _packages), _guarded("torch", _torch)]
    try:
        found = settings()
    except AttrGANError as error:
        return [*checks, Check("settings", False, str(error), "correct them; the other checks wait for that")]
    variables = sum(name.startswith("ATTRGAN__") for name in os.environ)
    checks.append(Check("settings", True, f"{config_file() or 'no file'}, {variables} variables ATTRGAN__…"))
    places = {"landing": found.landing, "warehouse": found.warehouse, "runs": found.runs}
    checks += [_guarded(name, lambda n=name, p=place: _place(n, p)) for name, place in places.items()]  # type: ignore[misc]
    rest: dict[str, Callable[[], Check]] = {
        "disk": lambda: _disk(found),
        "schema": lambda: _schema(found),
        "language": lambda: _encoder(found, "language"),
        "image": lambda: _encoder(found, "image"),
        "mlflow": lambda: _store(found),
        "airflow": _airflow,
        "kubernetes": lambda: _kubernetes(found),
    }
    return checks + [_guarded(name, check) for name, check in rest.items()]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:
        reason = tracking.masked(f"{type(error).__name__}: {error}").splitlines()[0]
        return Check(name, False, reason, "this check itself failed: see that what it names can be read")


# --- this machine --------------------------------------------------------------------------------------------------


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    ok = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Check("python", ok, found, None if ok else "use Python 3.11 or 3.12")


def _packages() -> Check:
    from packaging.requirements import Requirement

    wrong = []
    for line in metadata.requires("attrgan") or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _version(requirement.name)
        if version is None:
            wrong.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(version.partition("+")[0], prereleases=True):
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
    if wrong:
        return Check("packages", False, "; ".join(wrong), "pip install -c constraints.txt -e .  (or `make .venv`)")
    other = [f"{name} {version} (tested: {tested})" for name, version, tested in _untested()]
    note = f"; other than tested: {', '.join(other)}" if other else ""
    return Check("packages", True, f"attrgan {attrgan.__version__} and all it requires{note}")


def _untested() -> Iterator[tuple[str, str, str]]:
    """The packages attrgan names whose version differs from the set that is tested, where that set lies beside it."""
    file = Path(attrgan.__file__).parents[1] / "constraints.txt"
    named = {re.split(r"[^\w.-]", line)[0].lower() for line in metadata.requires("attrgan") or []}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        name, equal, tested = line.partition("#")[0].strip().partition("==")
        version = _version(name) if equal and name.lower() in named else None
        if version and version.partition("+")[0] != tested.partition("+")[0]:
            yield name, version, tested


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _torch() -> Check:
    version = _version("torch")
    if version is None:
        return Check("torch", False, "not installed", "pip install -c constraints.txt torch")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS", str(cores))
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    found = f"torch {version}, {threads} threads on {cores} cores, {gpus or 'no'} NVIDIA device{'s' * (gpus != 1)}"
    if gpus and version.endswith("+cpu"):
        return Check(
            "torch", True, found, "this build of torch cannot use the device: install a CUDA build for training"
        )
    return Check("torch", True, found)


def _disk(found: Settings) -> Check:
    places = [place for place in (found.warehouse, found.runs, ".") if not _is_remote(place)]
    folders = [_existing(Path(place.removeprefix("file://")).absolute()) for place in places]
    free = {folder: shutil.disk_usage(folder).free / 1e9 for folder in folders}
    path, least = min(free.items(), key=lambda item: item[1])
    ok = least >= FREE_GB
    return Check("disk", ok, f"{least:.1f} GB free at {path}", None if ok else f"make room: {FREE_GB:g} GB are needed")


# --- the places and services of the settings -----------------------------------------------------------------------


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(p for p in (path, *path.parents) if p.exists())


def _is_remote(place: str) -> bool:
    return "://" in place and not place.startswith("file://")


def _place(name: str, place: str) -> Check:
    shown = tracking.masked(place)
    if _is_remote(place):
        return _remote(name, place, shown)
    path = Path(place.removeprefix("file://"))
    existing = _existing(path.absolute())
    if not existing.is_dir():
        return Check(name, False, f"{existing} is a file", f"point the setting `{name}` at a folder")
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        return Check(
            name, False, f"{existing} cannot be written", f"give this user the right, or set `{name}` elsewhere"
        )
    return Check(name, True, shown if path.exists() else f"{shown} (made when it is first written)")


def _remote(name: str, place: str, shown: str) -> Check:
    try:
        storage.filesystem(place)  # importing its client is not its answer
        there = _in_time(lambda: storage.exists(place))
    except ImportError as error:
        return Check(name, False, f"{shown}: {error}", "install the package that it names")
    except Exception as error:  # whatever the client of the object store raises
        reason = tracking.masked(str(error) or type(error).__name__).splitlines()[0]
        return Check(name, False, f"{shown}: {reason}", f"give this machine access to it, or correct `{name}`")
    return Check(name, True, f"{shown} (reached{'' if there else ', nothing there yet'}; writing is not tried)")


def _in_time(call: Callable[[], Any]) -> Any:
    """What the call returns; raises what it raises, or TimeoutError. A call that hangs is left to a daemon thread."""
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["value"] = call()
        except Exception as error:
            outcome["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {TIMEOUT:g} s")
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


def _schema(found: Settings) -> Check:
    try:
        schema = Schema.load(found.catalog_schema)
    except AttrGANError as error:
        return Check("schema", False, tracking.masked(str(error)), "write one, or name yours in `catalog_schema`")
    return Check("schema", True, f"{found.catalog_schema}: {schema.entity}, {len(schema.attributes)} attributes")


def _encoder(found: Settings, level: str) -> Check:
    try:
        encoders = Schema.load(found.catalog_schema).encoders
    except AttrGANError:  # said by the check of the schema
        encoders = Encoders()
    name = getattr(encoders, level)
    if name is None:
        return Check(level, True, "switched off in the schema")
    try:
        return Check(level, True, pretrained.look(name))
    except AttrGANError as error:
        return Check(level, False, str(error), f"correct `encoders: {{{level}: …}}` in {found.catalog_schema}")


def _store(found: Settings) -> Check:
    uri = found.tracking_uri
    shown = tracking.masked(uri)
    if file := tracking.sqlite_file(uri):
        return _sqlite(file.absolute(), shown)
    if uri.startswith(("http://", "https://")):
        return _server(uri, shown)
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    try:
        _in_time(lambda: create_engine(uri).connect().close())
    except (SQLAlchemyError, ModuleNotFoundError, TimeoutError) as error:
        reason = tracking.masked(str(error)).splitlines()[0]
        return Check(
            "mlflow", False, f"{shown}: {reason}", "start the database, install its driver, or correct `tracking_uri`"
        )
    return Check("mlflow", True, f"{shown} answers")


def _sqlite(file: Path, shown: str) -> Check:
    if not file.exists():
        folder = _existing(file.parent)
        ok = os.access(folder, os.W_OK)
        advice = None if ok else f"make {folder} writable, or correct `tracking_uri`"
        return Check("mlflow", ok, f"{shown} (made by the first `attrgan register`)", advice)
    try:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=TIMEOUT)
        try:
            tables = {row[0] for row in connection.execute("select name from sqlite_master")}
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Check("mlflow", False, f"{shown}: {error}", "restore the file from a backup, or correct `tracking_uri`")
    ok = not tables or "registered_models" in tables
    advice = "it is not a database of MLflow: correct `tracking_uri`"
    return Check("mlflow", ok, f"{shown} is readable", None if ok else advice)


def _server(uri: str, shown: str) -> Check:
    bare = re.sub(r"(?<=://)[^/@]*@", "", uri).rstrip("/")
    try:
        with urlopen(Request(f"{bare}/health"), timeout=TIMEOUT) as answer:  # noqa: S310  (http(s) only, see _store)
            return Check("mlflow", True, f"{shown} answers with {answer.status}")
    except HTTPError as error:
        ok = error.code in (401, 403)  # it is there, and wants the log-in that MLflow's client brings
        advice = None if ok else "see its log, or correct `tracking_uri`"
        return Check("mlflow", ok, f"{shown} answers with {error.code}", advice)
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        return Check("mlflow", False, f"{shown}: {reason}", "start it (`mlflow server …`), or correct `tracking_uri`")


def _airflow() -> Check:
    version = _version("apache-airflow")
    if version is None:
        return Check(
            "airflow", True, "not installed (the verbs run without it)", "pip install 'attrgan[airflow]' for the DAGs"
        )
    folder = os.environ.get("AIRFLOW__CORE__DAGS_FOLDER")
    if folder is None:
        return Check("airflow", True, f"airflow {version}; AIRFLOW__CORE__DAGS_FOLDER is not set here")
    missing = (
        None if Path(folder).is_dir() else "point AIRFLOW__CORE__DAGS_FOLDER at the folder `dags/` of this project"
    )
    return Check("airflow", missing is None, f"airflow {version}, DAGs in {folder}", missing)


def _kubernetes(found: Settings) -> Check:
    version = _version("apache-airflow-providers-cncf-kubernetes")
    needed = found.runner == "kubernetes"
    text = f"provider {version}" if version else "provider not installed"
    advice = "pip install 'attrgan[airflow]': the setting `runner` is kubernetes" if needed and not version else None
    return Check("kubernetes", advice is None, f"{text}; tasks are {'pods' if needed else 'local processes'}", advice)
