import json
import re
from html.parser import HTMLParser

import completed_catalog as made
import pytest

from attrgan.errors import InputError
from attrgan.evaluation.plots import training_curves
from attrgan.evaluation.report import evaluation_report, nightly_report

PROMISE = {
    "brand": {"promised_precision": 0.95, "realised_precision": 0.972, "realised_n": 418, "reason": None},
    "price": {"promised_precision": 0.95, "realised_precision": 0.9, "realised_n": 50, "reason": None},
    "neckline": {"promised_precision": None, "realised_precision": None, "realised_n": 0,
                 "reason": "needs 59 calibration cells, has 20"},
}  # fmt: skip


class Page(HTMLParser):
    """The text of a page, the cells of its table rows, its links, and the names of its elements."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text()
        self.elements, self.links, self.rows, self.text = set(), {}, [], ""
        self._href = None
        self.feed(self.source)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        self.elements.add(tag)
        self._href = dict(attributes).get("href", self._href if tag != "a" else None)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag == "a":
            self._href = None
        elif tag == "table":
            self.rows.append([])

    def handle_data(self, data):
        if self._href:
            self.links[data] = self._href
        if self.get_starttag_text() and not self.get_starttag_text().startswith("<style"):
            self.text += " " + data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] = " ".join(f"{self.rows[-1][-1]} {data}".split())

    def row(self, first):
        return next(row for row in self.rows if row and row[0].startswith(first))


@pytest.fixture
def night(tmp_path):
    """Writes the outputs of a night and its report; returns the page and the result."""

    def write(*, quarantine=0, links=None, without=(), personal=(), **manifest):
        valid = made.catalog(2000)
        folder, aside = tmp_path / "run", made.quarantined(quarantine)
        said = {"dt": "2026-01-01", "personal": [*personal]}
        dirs = {"validate": made.validated(folder / "validate", valid, aside, **said)}
        for i in range(2):
            part = valid.slice(i * 1000, 1000)
            details = {"promise": PROMISE, "seconds": 3.5} | manifest
            dirs[f"complete {i}"] = made.completed(folder / f"complete{i}", part, f"{i}/2", **details)
        for verb in ("audit", "publish"):
            (folder / verb).mkdir()
            details = {"tables": {"completed": 4, "quarantine": None}, "dt": "2026-01-01"} if verb == "publish" else {}
            made._manifest(folder / verb, verb, counts={"rows": 2000, "given": 17_000}, **details)
            dirs[verb] = str(folder / verb)
        docs = folder / "validate" / "data_docs" / "index.html"
        docs.parent.mkdir()
        docs.write_text("docs")
        out = folder / "report" / "report.html"
        out.parent.mkdir()
        result = nightly_report([d for name, d in dirs.items() if name not in without], out, links)
        return Page(out), result

    return write


def test_the_page_shows_each_attribute_before_and_after_with_its_precision(night):
    page, _ = night()
    assert page.row("brand") == [
        "brand open", "1,333 → 2,000 66.6% → 100.0%", "667", "667 100.0%", "0", "0", "0", "≥ 95.0%",
        "97.2% of 418 cells",
    ]  # fmt: skip
    assert page.row("price")[-1] == "90.0% below of 50 cells"


def test_it_says_why_nothing_is_filled(night):
    page, _ = night()
    assert "Nothing filled: needs 59 calibration cells, has 20" in page.row("neckline")[1]
    assert "Nothing filled: suggestions only, by the schema" in page.row("colour")[1]
    assert "Nothing filled: switched off in the schema" in page.row("shelf")[1]
    assert page.row("neckline")[-2:] == ["none", "–"]


def test_the_headline_and_the_counts_are_sums_over_the_shards(night):
    page, result = night(quarantine=3)
    assert result.counts == {
        "rows_in": 2003, "valid": 2000, "quarantined": 3, "rows": 2000, "cells": 3000, "filled": 2000,
        "review": 1000, "abstained": 0, "not_applicable": 0,
    }  # fmt: skip
    assert "2,003 rows received 3 rows set aside 3,000 empty cells looked at 2,000 cells filled (66.7%)" in page.text
    assert result.details["attributes"]["brand"]["missing_before"] == 667
    json.dumps(result.details)


def test_it_says_what_was_quarantined_and_why_and_where_it_came_from(night):
    page, _ = night(quarantine=3)
    assert page.row("wrong_type:price")[2:] == ["3", "0.15%"]
    where, reasons, cells = page.row("landing.csv")
    assert (where, reasons) == ("landing.csv row 1", "wrong_type:price")
    assert cells.startswith("price <script>alert(1)</script>")


@pytest.mark.parametrize("personal", [[], ["sku"]])
def test_personal_columns_of_quarantined_rows_stay_out_of_the_page(night, personal):
    page, _ = night(quarantine=1, personal=personal)
    assert ("bad0" in page.source) == (not personal)


def test_a_night_without_quarantined_rows_says_so(night):
    page, _ = night()
    assert "No row was set aside: all 2,000 rows are valid." in page.text


def test_whatever_a_catalog_brings_is_escaped(night):
    page, _ = night(quarantine=1)
    assert "script" not in page.elements
    assert "&lt;script&gt;" in page.source


def test_the_page_loads_nothing_and_runs_nothing(night):
    page, _ = night(quarantine=1)
    assert not page.elements & {"script", "link", "iframe", "img", "object"}
    assert not re.search(r"""(src|url\()\s*=?\s*["']?(https?:)?//""", page.source)
    assert "default-src 'none'" in page.source


def test_data_docs_are_linked_relatively_and_mlflow_as_given(night):
    page, _ = night(links={"MLflow": "http://127.0.0.1:5000/#/models"})
    assert page.links == {"Data Docs": "../validate/data_docs/index.html", "MLflow": "http://127.0.0.1:5000/#/models"}


def test_a_link_that_is_a_script_is_left_out(night):
    page, _ = night(links={"MLflow": "javascript:alert(1)"})
    assert "javascript" not in page.source


def test_what_made_the_run_stands_on_the_page(night):
    page, _ = night()
    for fact in ("Date (dt) 2026-01-01", "Run r1", "Model version 7", "Shards 2", "Table versions completed 4"):
        assert fact in page.text
    assert "Product catalog, 2026-01-01 Published" in page.text


def test_a_refusal_stands_at_the_top(night):
    page, _ = night(without=("publish",), refused="the promise <b>broke</b>")
    assert "Not published: complete said no" in page.text
    assert "Complete : the promise <b>broke</b>" in page.text


def test_a_run_that_stopped_after_validation_has_its_page_too(night):
    page, result = night(quarantine=2, without=("complete 0", "complete 1", "audit", "publish"))
    assert result.counts == {"rows_in": 2002, "valid": 2000, "quarantined": 2}
    assert "Not published" in page.text


def test_filled_cells_are_shown_as_people_write_them(night):
    page, _ = night()
    assert [row for row in page.rows if row[:2] == ["2026-01-01/00002", "tags"]] == [
        ["2026-01-01/00002", "tags", "new, sale", "90.0%", "vocabulary"]
    ]


def test_folders_that_are_no_step_of_a_night_are_bad_input(tmp_path):
    with pytest.raises(InputError, match=r"has no manifest\.json"):
        nightly_report([str(tmp_path)], tmp_path / "report.html")
    made._manifest(tmp_path, "train")
    with pytest.raises(InputError, match="nothing to report"):
        nightly_report([str(tmp_path)], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(("share", "text"), [(0, "0.0%"), (1, "100.0%"), (0.99999, "99.9%"), (0.00001, "< 0.1%")])
def test_a_share_is_not_rounded_to_nothing_or_to_all(share, text):
    from attrgan.evaluation.report import _share

    assert _share(share) == text


def test_an_evaluation_shows_items_as_wholes_beside_real_rows(tmp_path):
    ways = {"one_by_one": 0.75, "alone": 0.5}
    joint = dict.fromkeys(("energy_score", "two_sample", "jensen_shannon"), ways)
    joint |= {name: ways | {"real": 0.875} for name in ("pairs", "triples")}
    joint |= {"rows": 1000, "samples": 5, "inside_samples": None}
    evaluation_report({"attributes": {}, "joint": joint}, tmp_path / "report.html", [])
    page = Page(tmp_path / "report.html")
    assert page.row("Energy score (lower is better)")[1:] == ["0.750", "0.500", "–"]
    assert page.row("Completed told from real by a classifier")[1:] == ["0.750", "0.500", "0.500"]
    assert page.row("Pairs of values that occur in real rows")[1:] == ["0.750", "0.500", "0.875"]
    assert "1,000 items" in page.source
    evaluation_report({"attributes": {}, "joint": {"rows": 0}}, tmp_path / "none.html", [])
    assert "Items as wholes" not in (tmp_path / "none.html").read_text()


def test_an_evaluation_shows_accuracy_beside_the_baseline_and_embeds_plots(tmp_path):
    picture = tmp_path / "losses.png"
    picture.write_bytes(b"\x89PNG")
    metrics = {
        "model_version": "v<1>", "mean_accuracy": 0.5, "mean_baseline": 0.25, "rows": {"evaluated": 10, "left_out": 3},
        "attributes": {
            "brand": {"kind": "open", "n": 1200, "accuracy": 0.8, "accuracy_interval": [0.78, 0.82], "baseline": 0.2,
                      "ece": 0.02, "coverage": 0.5, "promised_precision": 0.95, "realised_precision": 0.96,
                      "realised_n": 600, "realised_interval": [0.94, 0.97], "reason": None},
            "price": {"kind": "numeric", "n": 100, "accuracy": 0.2, "accuracy_interval": [0.1, 0.3], "baseline": 0.3,
                      "ece": 0.2, "coverage": 0.0, "promised_precision": None, "realised_precision": None,
                      "realised_n": 0, "realised_interval": None, "reason": "needs 124, has 100", "mae": 1.5},
            "tags": {"kind": "categorical", "n": 0, "promised_precision": None, "reason": "needs 59, has 0"},
        },
    }  # fmt: skip
    evaluation_report(metrics, tmp_path / "report.html", [picture, tmp_path / "missing.png"])
    page = Page(tmp_path / "report.html")
    assert page.row("brand") == [
        "brand open", "1,200", "80.0% baseline 20.0% 95% interval 78.0% to 82.0%", "0.020", "50.0%", "≥ 95.0%",
        "96.0% of 600 cells 94.0% to 97.0%",
    ]  # fmt: skip
    assert page.row("price")[2].startswith("20.0% not better baseline 30.0%")
    assert "Not filled: needs 124, has 100" in page.row("price")[2]
    assert page.row("tags")[2] == "no hidden cells Not filled: needs 59, has 0"
    assert page.source.count("data:image/png;base64,iVBORw==") == 1
    assert "v&lt;1&gt;" in page.source


def promise(pool: list[str] | None = None, observed: float | None = 0.97) -> dict:
    """What an evaluation says of a promise: the second one, for what is really missing, may not be made."""
    made = {"threshold": 0.9, "coverage": 0.5, "accepted": 300, "errors": 4, "reason": None}
    other = made | {"threshold": observed, "accepted": 80, "errors": 0, "coverage": 0.25}
    other["reason"] = None if observed else "needs 59 calibration cells, has 40"
    return {"accepted": 300, "errors": 4, "pool": pool, "under": {"mcar": made, "observed": other}}


def evaluated(**attributes: dict) -> dict:
    """Metrics with the same figures under every pattern, but fewer right where values are rare."""
    figures = {"kind": "open", "n": 10, "accuracy": 0.8, "baseline": 0.2, "ece": 0.061, "ece_expected": 0.052,
               "coverage": 0.5, "promised_precision": 0.95, "realised_precision": 0.96, "realised_n": 600}  # fmt: skip
    found = {"coverage": 0.4, "realised_precision": 0.96, "realised_n": 500}
    patterns = {p: dict.fromkeys(attributes, found | ({"realised_precision": 0.9} if p == "mnar" else {}))
                for p in ("mcar", "mar", "mnar")}  # fmt: skip
    return {"attributes": {n: figures | more for n, more in attributes.items()}, "patterns": patterns}


def test_an_evaluation_shows_what_a_promise_rests_on_and_for_whom_it_is_made(tmp_path):
    metrics = evaluated(brand={"promise": promise()}, fit={"promise": promise(["fit", "season"])})
    evaluation_report(metrics, tmp_path / "report.html", [])
    page = Page(tmp_path / "report.html")
    assert page.row("brand")[5] == "≥ 95.0% 4 of 300 calibration cells wrong"
    assert page.row("fit")[5] == "≥ 95.0% 4 of 300 calibration cells wrong; for fit, season together"
    assert page.row("brand")[3] == "0.061 0.052 by chance"


def test_an_evaluation_shows_the_promise_and_what_came_true_under_each_pattern_side_by_side(tmp_path):
    metrics = evaluated(brand={"promise": promise()}, fit={"promise": promise(observed=None)})
    evaluation_report(metrics, tmp_path / "report.html", [])
    page = Page(tmp_path / "report.html")
    last = [row for row in page.rows if row and row[0] == "brand"][-1]
    assert last == [
        "brand", "50.0% 4 of 300 wrong", "25.0% 0 of 80 wrong", "≥ 95.0%", "96.0% of 500, coverage 40.0%",
        "96.0% of 500, coverage 40.0%", "90.0% below of 500, coverage 40.0%",
    ]  # fmt: skip
    assert [row for row in page.rows if row and row[0] == "fit"][-1][2] == "none needs 59 calibration cells, has 40"


def test_an_attribute_of_which_a_pattern_hid_no_cell_has_no_figure_there(tmp_path):
    metrics = evaluated(brand={"promise": promise()})
    metrics["patterns"]["mar"] = {}
    evaluation_report(metrics, tmp_path / "report.html", [])
    last = [row for row in Page(tmp_path / "report.html").rows if row and row[0] == "brand"][-1]
    assert last[-3:] == ["96.0% of 500, coverage 40.0%", "–", "90.0% below of 500, coverage 40.0%"]


def test_an_evaluation_of_a_model_that_promises_nothing_says_so(tmp_path):
    metrics = evaluated(brand={"promise": {}, "promised_precision": None})
    evaluation_report(metrics, tmp_path / "report.html", [])
    assert "Nothing is promised of any attribute." in Page(tmp_path / "report.html").text


def test_a_training_that_noted_no_step_before_its_time_was_up_has_no_curves(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"epoch": 1, "validation_loss": 2.5}\n')
    training_curves(tmp_path / "log.jsonl", tmp_path / "losses.png")
    assert not (tmp_path / "losses.png").exists()
