"""A stand-in for the `attrgan` command: notes how it was called, and ends as `FAKE_EXIT` says (JSON, verb → exit code).

`FAKE_EXIT={"validate": [1, 0]}` ends the first call of validate with 1 and the others with 0.
"""

import json
import os
import sys
from pathlib import Path

arguments = sys.argv[1:]
verb = arguments[0]
calls = Path(os.environ["FAKE_CALLS"])
with calls.open("a") as file:
    file.write(json.dumps(arguments) + "\n")
if verb == "shards":
    sys.stdout.write(json.dumps(["0/2", "1/2"]))
if verb == "compare":
    out = Path(arguments[arguments.index("-o") + 1])
    out.mkdir(parents=True, exist_ok=True)
    comparison = {"candidate": "m2", "champion": "m1", "attributes": {"colour": {"candidate": 0.9}}, "mean": {}}
    (out / "comparison.json").write_text(json.dumps(comparison))
codes = json.loads(os.environ.get("FAKE_EXIT", "{}")).get(verb, 0)
if isinstance(codes, list):
    nth = sum(json.loads(line)[0] == verb for line in calls.read_text().splitlines()) - 1
    codes = codes[min(nth, len(codes) - 1)]
if codes:
    sys.stderr.write(f"the {verb} said no for a reason\n")
sys.exit(codes)
