"""The command line: one verb per step of the pipeline, the entry point of every task and every pod.

A command says what it did on standard output (with `--json`: as JSON, and nothing else), and what went wrong in one
sentence on standard error. Exit codes: 0 done, 2 bad input, 3 a gate says no, 1 a fault of ours.
Commands are functions in the modules beside this one, which import what is heavy inside; here they become the
command line, in the order of `--help`.
"""

import atexit
import logging
import os
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import typer

from attrgan import logs
from attrgan.cli import catalogs, completion, machine, models, promotion, reviews
from attrgan.errors import AttrGANError

app = typer.Typer(
    name="attrgan",
    help="Completes the missing attributes of catalogs, and says how sure it is.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
)
config_app = typer.Typer(help="The settings in force.", no_args_is_help=True)
app.add_typer(config_app, name="config")
review_app = typer.Typer(help="What people are asked, and what they answered.", no_args_is_help=True)
app.add_typer(review_app, name="review")

_COMMANDS: tuple[Callable[..., Any], ...] = (
    catalogs.infer_schema,
    catalogs.landing,
    catalogs.validate,
    catalogs.features,
    models.train,
    models.evaluate,
    models.drift,
    completion.complete,
    promotion.compare,
    catalogs.shards,
    completion.audit,
    completion.publish,
    completion.undo,
    completion.vacuum,
    completion.report,
    promotion.register,
    promotion.promote,
    promotion.rollback,
    machine.doctor,
)
for _command in _COMMANDS:
    app.command()(_command)
review_app.command("export")(reviews.review_export)
review_app.command("import")(reviews.review_import)
review_app.command("stats")(reviews.review_stats)
config_app.command("show")(machine.config_show)

_log = logging.getLogger(__name__)


@app.callback()
def _begin(context: typer.Context) -> None:
    if "--help" not in sys.argv:  # help needs no settings
        logs.begin(context.invoked_subcommand or "")


def main() -> None:
    """The console script: `run`, and an end of the process that nothing can turn into another exit code.

    Arrow's threads may still hold files of Python when the interpreter is torn down, and then abort the process
    (https://github.com/apache/arrow/issues/34314). So it ends before that, after all that others registered for the
    exit: what is registered first runs last.
    """
    exit_code = 1

    def leave() -> None:
        logging.shutdown()  # registered before us
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:  # nobody reads them any more, or a full disk
            os._exit(exit_code or 1)
        os._exit(exit_code)

    atexit.register(leave)
    exit_code = run()
    sys.exit(exit_code)


def run() -> int:
    """Runs the command line; turns errors into one sentence and an exit code."""
    started = perf_counter()
    code, sentence = _outcome()
    if verb := logs.fields().get("verb"):
        from attrgan import telemetry

        telemetry.ended(verb, code, perf_counter() - started)
    if sentence and logs.in_json():
        _log.error(sentence, extra={"fields": {"exit_code": code}})
    elif sentence:
        typer.echo(f"attrgan: {sentence}", err=True)
    return code


def _outcome() -> tuple[int, str | None]:
    """The exit code of the command line, and the sentence that says what went wrong."""
    try:
        app()
    except SystemExit as end:
        return (end.code if isinstance(end.code, int) else 0), None
    except AttrGANError as error:
        return error.exit_code, str(error)
    except KeyboardInterrupt:
        return 130, "interrupted; nothing half written"
    except MemoryError:
        return 1, "out of memory: complete the catalog in slices (--shard i/n) or train on fewer rows"
    except Exception as error:
        from attrgan.lake import s3

        if told := s3.explained(error):
            return told.exit_code, str(told)
        if os.environ.get("ATTRGAN_DEBUG"):
            _log.exception("a fault of ours")
        return 1, f"a fault of ours ({type(error).__name__}: {error}); ATTRGAN_DEBUG=1 shows where"
    return 0, None
