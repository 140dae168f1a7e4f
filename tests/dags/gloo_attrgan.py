"""A stand-in for `attrgan train` under `torchrun`: its processes add up their ranks, the first leaves the manifest.

`FAKE_EXIT` ends the process of that rank with that code before it has met the others: `{"1": 2}`.
"""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
if code := json.loads(os.environ.get("FAKE_EXIT", "{}")).get(str(rank)):
    sys.stderr.write("error: the catalog is not one\n")
    sys.exit(code)
distributed.init_process_group("gloo", timeout=timedelta(minutes=5))
total = torch.tensor([rank])
distributed.all_reduce(total)
sys.stdout.write(f"process {rank} of {count}: the ranks add up to {int(total)}\n")
if rank == 0:
    out, run_id = (sys.argv[sys.argv.index(option) + 1] for option in ("-o", "--run-id"))
    Path(out).mkdir(parents=True)
    (Path(out) / "manifest.json").write_text(json.dumps({"verb": "train", "status": "finished", "run_id": run_id}))
distributed.destroy_process_group()
