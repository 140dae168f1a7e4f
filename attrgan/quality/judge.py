"""Great Expectations at work: judges frames, adds up the results of batches, writes the Data Docs.

Choices: results are asked for in the COMPLETE format, whose `unexpected_index_list` names the rows that break an
expectation; these row numbers, and the reason in the expectation's `meta`, are all that the quarantine goes by. The
results of the batches are added up expectation by expectation, so that the Data Docs show one page for the catalog.
The context is ephemeral: no file, no network, no progress bar. Great Expectations renders the Data Docs; the page
around them is ours, because its own loads scripts from five servers, and the cells it quotes are escaped here, because
it does not escape them.
"""

import html
import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attrgan.errors import AttrGANError

EXAMPLES = 20


@dataclass
class Verdict:
    """What an expectation said, over all batches.

    Attributes:
        configuration: the expectation, as Great Expectations writes it.
        frame: the frame it was about (`ids`, `rows`, `figures`).
        rows: numbers of the rows that break it.
        seen, nulls: cells judged, and those of them that are null.
        broken: cells that break it.
        examples: how often each of the first offending cells was met.
        success: whether it held in every batch.
    """

    configuration: Any
    frame: str
    rows: list[int] = field(default_factory=list)
    seen: int = 0
    nulls: int = 0
    broken: int = 0
    examples: Counter[str] = field(default_factory=Counter)
    success: bool = True

    @property
    def reason(self) -> str | None:
        """The quarantine reason that it gives, if it is about rows."""
        reason: str | None = (self.configuration.meta or {}).get("reason")
        return reason

    def add(self, outcome: dict[str, Any], success: bool) -> None:
        """Adds the result of a batch."""
        self.success &= success
        self.seen += outcome.get("element_count") or 0
        self.nulls += outcome.get("missing_count") or 0
        self.broken += outcome.get("unexpected_count") or 0
        self.rows += outcome.get("unexpected_index_list") or []
        self.examples.update(_plain(value) for value in (outcome.get("partial_unexpected_list") or []))
        self.examples = Counter(dict(self.examples.most_common(EXAMPLES)))

    def as_dict(self) -> dict[str, Any]:
        """For validation.json."""
        arguments = {k: v for k, v in self.configuration.kwargs.items() if k != "batch_id"}
        return {
            "expectation": self.configuration.type,
            "on": self.frame,
            "arguments": arguments,
            "reason": self.reason,
            "success": self.success,
            "cells": self.seen,
            "nulls": self.nulls,
            "unexpected": self.broken,
            "examples": list(self.examples)[:5],
        }


class Judge:
    """An ephemeral Great Expectations context, and the verdicts so far."""

    def __init__(self) -> None:
        os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
        logging.getLogger("great_expectations").setLevel(logging.ERROR)
        import great_expectations as gx
        from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

        stores = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
        config = DataContextConfig(
            store_backend_defaults=stores, progress_bars={"globally": False}, analytics_enabled=False
        )
        context = gx.get_context(mode="ephemeral", project_config=config)
        asset = context.data_sources.add_pandas("catalog").add_dataframe_asset("frame")
        self._batch = asset.add_batch_definition_whole_dataframe("whole")
        self.verdicts: list[Verdict] = []

    def judge(self, suite: Any, frames: Iterable[pd.DataFrame]) -> list[Verdict]:
        """Judges batches of one whole by a suite; raises AttrGANError if an expectation could not be run."""
        verdicts = [Verdict(e.configuration, suite.name) for e in suite.expectations]
        form = {
            "result_format": "COMPLETE",
            "partial_unexpected_count": EXAMPLES,
            "return_unexpected_index_query": False,
        }
        for frame in frames:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                results = self._batch.get_batch({"dataframe": frame}).validate(suite, result_format=form).results
            found = {_key(result.expectation_config): result for result in results}
            for verdict in verdicts:
                result = found[_key(verdict.configuration)]
                _raise_if_it_failed(result)
                verdict.add(result.result, bool(result.success))
        self.verdicts += verdicts
        return verdicts

    def write_data_docs(self, path: Path, title: str, facts: dict[str, Any]) -> None:
        """Writes the Data Docs of everything judged: one page that needs no other file and no network."""
        from great_expectations.core import ExpectationSuiteValidationResult
        from great_expectations.render.renderer import ValidationResultsPageRenderer
        from great_expectations.render.view import DefaultJinjaPageView

        results = [_rendered(verdict) for verdict in self.verdicts]
        held = sum(verdict.success for verdict in self.verdicts)
        statistics = {
            "evaluated_expectations": len(results),
            "successful_expectations": held,
            "unsuccessful_expectations": len(results) - held,
            "success_percent": 100 * held / len(results) if results else None,
        }
        whole = ExpectationSuiteValidationResult(
            success=held == len(results), results=results, suite_name=html.escape(title), statistics=statistics, meta={}
        )
        view = DefaultJinjaPageView(custom_views_directory=str(Path(__file__).parent))
        page = view.render(ValidationResultsPageRenderer().render(whole), template="data_docs.html.j2", facts=facts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")


def _rendered(verdict: Verdict) -> Any:
    """The verdict as a result that Great Expectations renders; offending cells escaped."""
    from great_expectations.core import ExpectationValidationResult

    judged = verdict.seen - (0 if verdict.configuration.type.endswith("_null") else verdict.nulls)
    share = 100 * verdict.broken / judged if judged else 0.0
    examples = {html.escape(value): count for value, count in verdict.examples.items()}
    outcome = {
        "element_count": verdict.seen,
        "missing_count": verdict.nulls,
        "unexpected_count": verdict.broken,
        "unexpected_percent": share,
        "unexpected_percent_nonmissing": share,
        "partial_unexpected_list": list(examples),
        "partial_unexpected_counts": [{"value": v, "count": n} for v, n in examples.items()],
    }
    if not verdict.seen:
        outcome = {}
    return ExpectationValidationResult(
        success=verdict.success,
        expectation_config=_escaped(verdict.configuration),
        result=outcome,
        exception_info={"raised_exception": False, "exception_message": None, "exception_traceback": None},
    )


def _escaped(configuration: Any) -> Any:
    """A copy whose arguments (names of columns, values that the schema lists) are no markup; nor are section names."""

    def of(value: Any) -> Any:
        if isinstance(value, str):
            return html.escape(value)
        return [of(v) for v in value] if isinstance(value, (list, tuple, set)) else value

    copy = deepcopy(configuration)
    copy.kwargs = {key: of(value) for key, value in copy.kwargs.items()}
    return copy


def _plain(value: Any) -> str:
    values = value if isinstance(value, (list, tuple)) else [value]
    return " ≠ ".join(f"{v:g}" if isinstance(v, (float, np.floating)) else str(v) for v in values)


def _key(configuration: Any) -> tuple[str, str, str]:
    arguments = {k: v for k, v in configuration.kwargs.items() if k != "batch_id"}
    return configuration.type, repr(sorted(arguments.items(), key=str)), str((configuration.meta or {}).get("reason"))


def _raise_if_it_failed(result: Any) -> None:
    info = result.exception_info or {}
    infos = [info] if "raised_exception" in info else list(info.values())
    for problem in infos:
        if problem.get("raised_exception"):
            config = result.expectation_config
            raise AttrGANError(
                f"{config.type} could not be judged for {config.kwargs.get('column')!r}: {problem['exception_message']}"
            )
