"""The data sets of the comparison, each described once: the roles of its columns, the protocol it is asked by.

A description holds only what the catalog's columns are. Nothing here, and nothing in a model, is tuned to a set.
"""

from dataclasses import dataclass
from typing import Any, Literal

from attrgan.errors import InputError

Protocol = Literal["hidden", "published", "labels", "extraction", "mcar"]
"""How a set is asked.

- `hidden`: 20 % of the rows are test rows by a salted hash of the id; 30 % of the known cells are hidden in both parts.
- `published`: the file's own `split`; every scored cell of the test rows is hidden.
- `labels`: a file to learn from with one label per row, another one to be asked about, one cell per row.
- `extraction`: the file's own `split`; every attribute of the test rows is asked, present or not, scored by micro-F1.
- `mcar`: 20 % of the cells of a numeric table, scaled to [0, 1], are missing completely at random; scored by RMSE.
"""


@dataclass(frozen=True)
class DataSet:
    """One set: its file and the roles of its columns.

    Attributes:
        file: Parquet file below the data folder, without its ending.
        id: its id column; empty: the row number.
        rows: at most so many rows, drawn at random.
        context: attributes that are known to every model but neither hidden nor scored.
        asked: for `labels`, the file with the rows to be asked about.
        not_listed: for `extraction`, what a cell holds whose attribute the row's category has but the row has not:
            nothing (`unknown`), or `n/a`.
    """

    file: str
    protocol: Protocol = "hidden"
    id: str = "id"
    rows: int | None = None
    text: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    sequences: tuple[tuple[str, str], ...] = ()
    category: str | None = None
    categorical: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    asked: str | None = None
    not_listed: Literal["unknown", "n/a"] = "unknown"

    @property
    def kinds(self) -> dict[str, str]:
        """Attribute → kind, in the order in which cells are hidden."""
        columns = {"categorical": self.categorical, "open": self.open, "numeric": self.numeric}
        return {name: kind for kind, names in columns.items() for name in names}

    @property
    def scored(self) -> list[str]:
        return [name for name in self.kinds if name not in self.context]

    def schema(self) -> dict[str, Any]:
        """The roles as a user would write them into `schema.yaml`."""
        roles = {
            "id": "product_id",
            "category": self.category,
            "text": list(self.text),
            "images": list(self.images),
            "attributes": {name: {"kind": kind} for name, kind in self.kinds.items()},
        }
        if self.sequences:
            roles["sequences"] = {"sales": {"columns": dict(self.sequences)}}
        return {role: value for role, value in roles.items() if value}


SETS: dict[str, DataSet] = {
    "livostyle": DataSet(
        "livostyle", text=("title", "description"), images=("image",), numeric=("price_min_usd",),
        categorical=("brand", "category", "department", "colour", "pattern", "neckline", "sleeve", "length", "material",
                     "season", "occasion", "fit"),
    ),
    "complete_journey": DataSet(
        "complete_journey_products", id="product_id", rows=20_000, text=("product_type",),
        sequences=(("seq_week", "time"), ("seq_price", "numeric"), ("seq_qty", "numeric")),
        categorical=("department", "brand", "manufacturer_id", "product_category", "package_unit"),
        numeric=("package_qty", "list_price"),
    ),
    "jd_laptops": DataSet(
        "jd_laptops", rows=20_000, text=("title",),
        categorical=("brand", "category", "cpu", "gpu", "colour", "shop_type"),
        numeric=("ram_gb", "storage_gb", "screen_inch", "price"),
    ),
    "home_improvement": DataSet(
        "home_improvement", text=("title",), images=("image",), categorical=("category", "colour"), open=("brand",),
        numeric=("price",),
    ),
    "implicit_ave": DataSet(
        "implicit_ave_train", "labels", asked="implicit_ave_eval", text=("title",), category="category",
        categorical=("domain", "Animal Theme", "Athletic Shoe Style", "Attachment Method", "Boot Style",
                     "Candy Variety", "Container", "Flavor", "Form", "Heel Height", "Length", "Location", "Material",
                     "Neckline", "Occasion", "Pattern", "Season", "Shaft Height", "Shape", "Shoulder Style", "Size",
                     "Sleeve Style", "Special Occasion", "Toe Style"),
        context=("domain",),
    ),
    "walmart_amazon": DataSet(
        "walmart_amazon", text=("title",), categorical=("category", "brand"), open=("modelno",), numeric=("price",)
    ),
    "buy_imputation": DataSet(
        "buy_imputation", "published", text=("title", "description"), open=("manufacturer",), numeric=("price",),
        context=("price",),
    ),
    "okcupid": DataSet(
        "okcupid_20k", text=("speaks",), numeric=("age", "height", "income"),
        categorical=("body_type", "diet", "drinks", "education", "job", "offspring", "pets", "sex", "smokes", "status"),
    ),
    "german_credit": DataSet(
        "german_credit",
        categorical=("status_of_existing_checking_account", "credit_history", "purpose", "savings_account_and_bonds",
                     "present_employment_since", "personal_status_and_sex", "other_debtors_or_guarantors", "property",
                     "other_installment_plans", "housing", "job", "telephone", "foreign_worker", "creditability"),
        numeric=("duration_in_month", "credit_amount", "installment_rate_in_percentage_of_disposable_income",
                 "present_residence_since", "age_in_years", "number_of_existing_credits_at_this_bank",
                 "number_of_people_being_liable_to_provide_maintenance_for"),
    ),
    "ae_110k": DataSet("ae_110k", "extraction", text=("title",), category="category"),
    "ae_110k-na": DataSet("ae_110k", "extraction", text=("title",), category="category", not_listed="n/a"),
    "oa_mine": DataSet("oa_mine", "extraction", text=("title",), category="category"),
    "oa_mine-na": DataSet("oa_mine", "extraction", text=("title",), category="category", not_listed="n/a"),
    "gain/letter": DataSet("gain/letter", "mcar", id=""),
    "gain/spam": DataSet("gain/spam", "mcar", id=""),
    "gain/breast_wdbc": DataSet("gain/breast_wdbc", "mcar", id=""),
}  # fmt: skip
"""Name → description. Extraction and `mcar` sets take their attributes from the columns of the file."""


def choose(names: list[str] | None) -> list[str]:
    """The names asked for, all of them by default; raises InputError for one that is not there."""
    for name in names or []:
        if name not in SETS:
            raise InputError(f"--sets {name} is not a set: expected one of {', '.join(SETS)}")
    return list(dict.fromkeys(names or SETS))
