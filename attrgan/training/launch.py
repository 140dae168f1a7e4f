"""`python -m attrgan.training.launch`: `torchrun`, but it ends with the exit code of the process that failed.

`torchrun` ends with 1 whatever became of its processes, and with a page of its own after the one sentence that the verb
has said. Here 2 (bad input) stays 2, so that Airflow does not try again what cannot go well, and the verb's sentence
stays the last line of the log. The arguments are those of `torchrun`.
"""

import logging
import sys

from torch.distributed import run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


def main() -> None:
    """Starts the processes of this node and waits for them; exits with the code of the first that failed."""
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        run.run(run.parse_args(sys.argv[1:]))
    except ChildFailedError as failed:
        code = failed.get_first_failure()[1].exitcode
        sys.exit(code if code > 0 else 128 - code)  # a signal, as a shell says it
    except SignalException as ended:  # its processes have had the signal too, and time to finish a checkpoint
        sys.exit(128 + ended.sigval)


if __name__ == "__main__":
    main()
