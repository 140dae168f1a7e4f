"""Catalogs as files, for tests that read them."""

import json
from pathlib import Path


def write(folder: Path, name: str, content: str | bytes) -> str:
    """Writes a file, whose folders are made, and returns its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def lines(*rows: object) -> str:
    """Rows as JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
