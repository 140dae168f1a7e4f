"""attrgan completes the missing attributes of catalogs, and says how sure it is."""

import os

__version__ = "0.1.0"

# Has to be said before torch is imported. Its threads spin while they wait for one another; where something else wants
# the cores (a scheduler, another task), that makes training ten times slower than letting them sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
