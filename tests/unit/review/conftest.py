"""A warehouse that `validate`, `complete` and `publish` made, and what happens to it in a review."""

import shutil
from pathlib import Path

import completed_catalog as made_catalog
import pandas as pd
import pyarrow.parquet as pq
import pytest
from small_catalog import SCHEMA, catalog, with_gaps

from attrgan import api
from attrgan.completion.publish import publish as publish_tables
from attrgan.lake import tables
from attrgan.review import answers, sheet
from attrgan.review.cells import Warehouse

DT = "2026-01-01"


@pytest.fixture(scope="session")
def published(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 items with gaps, completed and published; in `whole.parquet` the same items without gaps."""
    place = tmp_path_factory.mktemp("published")
    whole = catalog(150, seed=3, prefix="=N")  # ids that a spreadsheet would take for formulas
    pq.write_table(whole, place / "whole.parquet")
    publish(place, with_gaps(whole, share=0.3, seed=4), small_folder, DT)
    return place


def publish(place: Path, table, model: Path, dt: str) -> None:
    folder = place / dt
    folder.mkdir()
    SCHEMA.save(folder / "schema.yaml")
    pq.write_table(table, folder / "landed.parquet")
    api.validate(str(folder / "landed.parquet"), str(folder / "schema.yaml"), str(folder / "validated"))
    api.complete(str(folder / "validated" / "valid.parquet"), str(model), str(folder / "completed"), run_id=f"of {dt}")
    api.publish([str(folder / "completed")], str(place / "warehouse"), dt, f"of {dt}")


class Review:
    """A warehouse of one's own, with the sheets that went to and fro."""

    def __init__(self, place: Path, model: Path) -> None:
        self.place, self.model, self.url = place, model, str(place / "warehouse")
        self.truth = pq.read_table(place / "whole.parquet").to_pandas().set_index("sku")
        self.number = 0

    def publish(self, table, dt: str) -> None:
        publish(self.place, table, self.model, dt)

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse.open(self.url)

    def export(self, name: str = "review.csv", **options) -> pd.DataFrame:
        """The sheet, as it is read again."""
        out = str(self.place / name)
        api.review_export(self.url, out, **options)
        return sheet.read(out, "sku")[0]

    def import_(self, rows: "pd.DataFrame | list[dict]", name: str | None = None, **options) -> dict:
        """Imports a sheet with these rows."""
        self.number += 1
        file = str(self.place / (name or f"filled{self.number}.csv"))
        rows = pd.DataFrame(rows)
        sheet.write(rows.astype(object).where(rows.notna(), None), file)
        return api.review_import(file, self.url, **options)["counts"]

    def cells(self, attribute: str, n: int = 1) -> list[str]:
        """Ids of open cells of an attribute."""
        found = tables.read(self.url, "completions").to_pandas()
        return found.loc[found["attribute"] == attribute, "sku"].tolist()[:n]

    def answers(self) -> dict[tuple[str, str], str]:
        given = answers.current(self.warehouse)
        return dict(zip(zip(given["key"], given["attribute"], strict=True), given["answer"], strict=True))


@pytest.fixture
def review(published: Path, small_folder: Path, tmp_path: Path) -> Review:
    shutil.copytree(published, tmp_path / "r")
    return Review(tmp_path / "r", small_folder)


@pytest.fixture
def made(tmp_path: Path):
    """Publishes nights of `completed_catalog`, whose answers a test may choose, into one warehouse."""
    schema = made_catalog.SCHEMA | {"personal": ["note"]}

    class Made:
        url = str(tmp_path / "made" / "warehouse")
        number = 0

        def publish(self, dt: str = DT, valid=None, answers=None, completions=None, run_id: str = "r1") -> None:
            self.number += 1
            folder = tmp_path / "made" / str(self.number)
            valid = made_catalog.catalog(dt=DT) if valid is None else valid
            rows = made_catalog.completions_of(valid, answers) if completions is None else completions
            shard = made_catalog.completed(folder / "s", valid, completions=rows, schema=schema)
            (folder / "stage").mkdir()
            validated = made_catalog.validated(folder / "v", valid)
            assert publish_tables([shard], validated, self.url, dt, run_id, folder / "stage").refused is None

        @property
        def warehouse(self) -> Warehouse:
            return Warehouse.open(self.url)

        def answer(self, *rows: dict, **options) -> answers.Import:
            columns = dict.fromkeys(("key", "attribute", "answer", "purpose", "reviewer"))
            sheet_ = pd.DataFrame([columns | row for row in rows], columns=list(columns), dtype=object)
            return answers.import_answers(
                self.warehouse, sheet_.where(sheet_.notna(), None), "hash", **({"new_values": True} | options)
            )

    return Made()
