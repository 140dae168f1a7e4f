"""Prints the requirements in the pyproject.toml on standard input, those of the extras named included, one a line.

So an image has them in a layer below the code, which changes more often; pip alone cannot leave the code out.
"""

import sys
import tomllib

project = tomllib.load(sys.stdin.buffer)["project"]
extras = [project["optional-dependencies"][name] for name in sys.argv[1:]]
sys.stdout.writelines(f"{requirement}\n" for part in [project["dependencies"], *extras] for requirement in part)
