"""What the tests share that train in processes of their own: a small catalog on a disk, and the end of a process."""

import subprocess
from pathlib import Path

import pyarrow.parquet as pq
from small_catalog import SCHEMA, catalog, with_gaps


def write_catalog(folder: Path) -> Path:
    """Writes a catalog and its schema into a folder."""
    pq.write_table(with_gaps(catalog(120)), folder / "catalog.parquet")
    SCHEMA.save(folder / "schema.yaml")
    return folder


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    """Waits for a process; its exit code, and what it said on standard output and on standard error."""
    try:
        out, err = process.communicate(timeout=600)
    finally:
        process.kill()  # one that hangs does not outlive its test
    return process.returncode, out, err
