"""AutoGluon as a peer, in an environment of its own: its dependencies and attrgan's cannot be had together.

    python -m venv autogluon && autogluon/bin/pip install "autogluon.tabular[lightgbm]" pandas pyarrow
    python -m benchmarks.catalogs --models autogluon --autogluon-python autogluon/bin/python

The task is handed over as files; this module, run by that environment's Python, learns a predictor per column (60 s
each, AutoGluon's own defaults, text included; the most frequent value where no model is done by then) and writes the
answers. It imports nothing of attrgan.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.peers import Answer
    from benchmarks.tasks import Task

SECONDS_PER_COLUMN = 60


def learn(task: "Task", python: str | None = None) -> "Answer":
    """Learns and answers in a subprocess; raises InputError where that environment is not there or fails."""
    import pandas as pd

    from attrgan.errors import InputError

    if not python:
        raise InputError("autogluon has an environment of its own: name its Python with --autogluon-python")
    columns = [*task.set.text, *task.set.kinds, *([task.set.category] if task.set.category else [])]
    columns = ["product_id", *dict.fromkeys(columns)]
    with TemporaryDirectory(prefix="attrgan-autogluon-") as folder:
        place = Path(folder)
        task.train[columns].to_parquet(place / "train.parquet")
        task.test[columns].to_parquet(place / "test.parquet")
        scored = {name: task.set.kinds[name] for name in task.set.scored}
        (place / "scored.json").write_text(json.dumps(scored), encoding="utf-8")
        try:
            done = subprocess.run([python, "-I", __file__, folder], capture_output=True, text=True, check=False)
        except OSError as error:
            raise InputError(f"--autogluon-python {python} cannot be run ({error.strerror})") from None
        if done.returncode:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise InputError(f"--autogluon-python {python} failed ({last}): expected a Python with autogluon.tabular")
        answers = pd.read_parquet(place / "answers.parquet")
    return lambda: answers.assign(value=answers["value"].astype(object))


def main(place: Path) -> None:
    """Reads train.parquet, test.parquet and scored.json from the folder, writes answers.parquet."""
    import pandas as pd
    from autogluon.tabular import TabularPredictor  # type: ignore[import-not-found]

    train, test = pd.read_parquet(place / "train.parquet"), pd.read_parquet(place / "test.parquet")
    parts = []
    for name, kind in json.loads((place / "scored.json").read_text(encoding="utf-8")).items():
        known = train[train[name].notna()].drop(columns="product_id")
        if known[name].nunique() < 2:
            continue
        problem = "regression" if kind == "numeric" else "multiclass" if known[name].nunique() > 2 else "binary"
        predictor = TabularPredictor(name, problem_type=problem, path=str(place / f"model-{len(parts)}"), verbosity=0)
        asked = test.drop(columns=["product_id", name])
        answers = pd.DataFrame({"product_id": test["product_id"], "attribute": name, "confidence": float("nan")})
        try:
            predictor.fit(known, time_limit=SECONDS_PER_COLUMN)
        except RuntimeError:  # no model was done in time, as with a thousand classes
            parts.append(answers.assign(value=str(known[name].mode()[0])))
            continue
        answers["value"] = predictor.predict(asked).astype(str)
        if kind != "numeric":
            answers["confidence"] = predictor.predict_proba(asked).max(axis=1)
        parts.append(answers)
    pd.concat(parts, ignore_index=True).to_parquet(place / "answers.parquet")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
