"""A stand-in for one node of a training, without torch: it does what `FAKE_NODES` says for its index: a list of steps,
`wait`, `manifest` or an exit code. `{"0": ["manifest", 0], "1": [1]}`; a node that is not named waits."""

import json
import os
import sys
import time
from pathlib import Path

index = os.environ["JOB_COMPLETION_INDEX"]
sys.stdout.write(f"node {index} is at work\n")
sys.stdout.flush()
for step in json.loads(os.environ["FAKE_NODES"]).get(index, ["wait"]):
    if step == "wait":
        time.sleep(600)
    elif step == "manifest":
        out, run_id = (Path(sys.argv[sys.argv.index(option) + 1]) for option in ("-o", "--run-id"))
        out.mkdir(parents=True)
        (out / "manifest.json").write_text(json.dumps({"verb": "train", "status": "finished", "run_id": run_id.name}))
    else:
        sys.exit(step)
