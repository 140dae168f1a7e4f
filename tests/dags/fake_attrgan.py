"""A stand-in for the `attrgan` command: notes how it was called, leaves a manifest, and ends as it is told.

`FAKE_CALLS` is the file for the notes. By verb, as JSON, each value for every call or a list with one for each:
`FAKE_EXIT={"validate": [1, 0]}` ends the first call of validate with 1 and the others with 0; `FAKE_MANIFEST` gives
fields of the manifest that are to be others, null for no manifest; `FAKE_SECONDS` is how long it works, `FAKE_UNTIL` a
file that it waits for.
"""

import json
import os
import sys
import time
from pathlib import Path

arguments = sys.argv[1:]
verb = arguments[0]
calls = Path(os.environ["FAKE_CALLS"])
with calls.open("a") as file:
    file.write(json.dumps(arguments) + "\n")


def told(name, default):
    value = json.loads(os.environ.get(name, "{}")).get(verb, default)
    if not isinstance(value, list):
        return value
    nth = sum(json.loads(line)[0] == verb for line in calls.read_text().splitlines()) - 1
    return value[min(nth, len(value) - 1)]


if verb == "shards":
    sys.stdout.write(json.dumps(["0/2", "1/2"]))
else:
    sys.stdout.write(f"{verb}: at work\n")
    sys.stdout.flush()
time.sleep(told("FAKE_SECONDS", 0))
while (awaited := told("FAKE_UNTIL", None)) and not Path(awaited).exists():
    time.sleep(0.1)
code, fields = told("FAKE_EXIT", 0), told("FAKE_MANIFEST", {})
if "-o" in arguments and fields is not None:
    out = Path(arguments[arguments.index("-o") + 1])
    folder = out.parent if verb == "report" else out
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"verb": verb, "status": "finished", "run_id": arguments[arguments.index("--run-id") + 1]}
    if verb == "report":
        out.write_text("a page")
    elif not code:
        (folder / "manifest.json").write_text(json.dumps(manifest | fields))
    if verb == "compare":
        comparison = {"candidate": "m2", "champion": "m1", "attributes": {"colour": {"candidate": 0.9}}, "mean": {}}
        (out / "comparison.json").write_text(json.dumps(comparison))
if code:
    sys.stderr.write(f"the {verb} said no for a reason\n")
sys.exit(code)
