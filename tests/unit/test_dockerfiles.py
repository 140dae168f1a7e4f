"""The Dockerfiles: what can be said of them without building (they are built as docs/runbooks/compose.md says)."""

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = sorted((ROOT / "docker").rglob("*.Dockerfile"))
IGNORED = (
    "DL3008",  # Debian's stable release keeps one version of a package, and drops it when it has a security fix
    "DL3002",  # asks for a user in stages that are never run
)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_hadolint_has_no_warning(file):
    hadolint = [Path(sys.executable).with_name("hadolint"), "--no-color", "--failure-threshold=warning"]
    done = subprocess.run(
        [*hadolint, *(f"--ignore={rule}" for rule in IGNORED), file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_what_is_copied_is_there_and_not_ignored(file):
    lines = [line for line in file.read_text().splitlines() if line.startswith("COPY") and "--from" not in line]
    sources = [word for line in lines for word in line.split()[1:-1] if not word.startswith("--")]
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), f"{file.name} copies {source}, which is not there"
        assert any(fnmatch.fnmatch(source, pattern) for pattern in allowed), f".dockerignore leaves out {source}"


@pytest.mark.parametrize("name", ["worker", "airflow"])
def test_the_last_user_is_not_root(name):
    users = re.findall(r"^USER (\S+)$", (ROOT / "docker" / f"{name}.Dockerfile").read_text(), flags=re.MULTILINE)
    assert users[-1] == "50000:0"


def test_the_requirements_of_an_image_are_those_of_its_extras():
    done = subprocess.run(
        [sys.executable, ROOT / "docker" / "requirements.py", "airflow", "postgres"],
        input=(ROOT / "pyproject.toml").read_bytes(),
        capture_output=True,
        check=True,
    )
    found = done.stdout.decode().splitlines()
    assert {"apache-airflow==3.3.2", "psycopg[binary]", "torch==2.13.0"} <= set(found)
    assert "pytest" not in found
