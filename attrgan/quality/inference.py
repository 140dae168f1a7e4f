"""`attrgan infer-schema`: a first schema guessed from a catalog, with the reason for each guess.

Choices: a guess is made column by column from its name and its values (`attrgan.quality.profile`), in a fixed order:
id, personal data, media, lists, dates and codes, numbers, text, closed and open vocabularies. What cannot be completed
(a constant, an empty column, a different code in every row) is left out, and the comment says so. Two attributes are
`derived_with` each other when one gives the other away and they are also missing together: a value that is known when
the other is not is a fair clue. People read the file before they use it; every comment is written for them.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

from attrgan.errors import CatalogError
from attrgan.lake.catalog import DELETED, Catalog
from attrgan.lake.numbers import is_text
from attrgan.quality import numeric, sentinels
from attrgan.quality.dependence import derived, sequence_groups
from attrgan.quality.profile import AUDIO_FILE, EMAIL, IMAGE_FILE, PHONE, URL, Profile, profiles, word_count
from attrgan.schema import NOT_APPLICABLE, Schema

_ID = re.compile(r"(?i:(^|[_\-. ])(id|sku|asin|ean|gtin|upc|isbn|uuid|guid|key|code)s?$)|[a-z]I[dD]$|编号|货号|商品号")
_CODE = re.compile(r"(?i:(^|[_\-. ])(id|code|zip|postcode|no|nr|sku|isbn|ean|upc)$)|[a-z]I[dD]$|编号|邮编")
_PERSONAL = re.compile(
    r"e-?mail|phone|mobile|(^|_)tel(_|$)|(user|first|last|full|family|given|customer|contact|buyer|middle)[_ ]?name"
    r"|surname|nickname|passport|(^|_)ssn(_|$)|iban|birth|street|(^|_)address|(^|_)ip(_|$)|姓名|电话|手机|邮箱|身份证|地址|微信",
    re.IGNORECASE,
)
_IMAGE = re.compile(r"image|img|photo|picture|thumbnail|图", re.IGNORECASE)
_TEXT = re.compile(r"title|name|desc|text|summary|about|bio|comment|essay|标题|名称|描述|简介", re.IGNORECASE)
_CATEGORY = (
    "category", "product_category", "类别", "品类", "分类", "类目",
    "product_type", "department", "type", "class", "domain",
)  # fmt: skip
_MAGIC = {
    "images": (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*"),
    "audio": (b"fLaC", b"ID3", b"OggS", b"\xff\xfb"),
}  # fmt: skip
_CHOSEN = "(category)"
"""Key of the comment on `category:`; the column of that name has its own."""
MOST_VALUES = 500
"""More distinct values than this are an open vocabulary."""


@dataclass
class _Draft:
    """The schema so far, and why."""

    text: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    audio: list[str] = field(default_factory=list)
    sequences: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    personal: list[str] = field(default_factory=list)
    comments: dict[str, str] = field(default_factory=dict)


def infer_schema(catalog: Catalog) -> tuple[Schema, dict[str, str]]:
    """Guesses the schema of a catalog.

    Returns:
        The schema, and column (or sequence group) → why it got its role, or was left out.

    Raises:
        CatalogError: no column can be the id, or none can be completed.
    """
    table, stand_for_none = _without_sentinels(catalog.table)
    columns = profiles(table)
    columns.pop(DELETED, None)
    identifier, why = _identifier(columns)
    draft = _Draft(comments={identifier: why})
    rest = [p for name, p in columns.items() if name != identifier]
    lists = [p for p in rest if p.shape == "list"]
    for profile in rest:
        if profile.shape != "list":
            _place(profile, draft)
            if profile.shape == "text" and profile.name in draft.attributes:
                draft.comments[profile.name] += numeric.more_than_one_number(profile)
    _place_lists(lists, draft)
    _some_text(columns, draft)
    _open_vocabularies(columns, draft)
    if not draft.attributes:
        raise CatalogError(
            f"no column to complete among {', '.join(list(columns)[:20])}: expected at least one with values that come "
            "back (a closed or open vocabulary) or numbers; write the schema by hand"
        )
    for name, (others, reason) in derived({n: columns[n] for n in draft.attributes}).items():
        draft.attributes[name]["derived_with"] = others
        draft.comments[name] += f"; {reason}"
    for name, found in stand_for_none.items():
        _say_sentinels(name, found, draft)
    category = _category(columns, draft)
    schema = Schema.parse(_mapping(identifier, category, draft), "the guessed schema")
    _say_what_does_not_apply(schema, columns, draft)
    return schema, draft.comments


def _without_sentinels(table: pa.Table) -> tuple[pa.Table, dict[str, sentinels.Sentinels]]:
    """The table as its values alone look, and what else stands in its columns."""
    named = [n for word in _CATEGORY for n in table.column_names if n.lower() == word and is_text(table[n].type)]
    category = table[named[0]] if named else None
    found = {n: sentinels.find(table[n], category) for n in table.column_names}
    for i, name in enumerate(table.column_names):
        if found[name].taken:
            table = table.set_column(i, name, sentinels.without(table[name], found[name]))
    return table, found


def _say_sentinels(name: str, found: sentinels.Sentinels, draft: _Draft) -> None:
    """Writes what stands for no value into the attribute and its comment."""
    if name not in draft.attributes or not (found.taken or found.perhaps):
        return
    numbers = draft.attributes[name]["kind"] == "numeric"
    written = {"not_applicable_as": [s for s in found.not_applicable if numbers or s != NOT_APPLICABLE]}
    written["unknown_as"] = list(found.unknown)
    draft.attributes[name] |= {key: spellings for key, spellings in written.items() if spellings}
    draft.comments[name] += sentinels.described(found)


def _say_what_does_not_apply(schema: Schema, columns: dict[str, Profile], draft: _Draft) -> None:
    """Names, behind an attribute, categories that never have it: for `applies_to`, which people decide."""
    from attrgan.model import applicability

    if schema.category is None:
        return
    cells = {name: [None if c is None else str(c) for c in columns[name].cells] for name in schema.attributes}
    for name, found in applicability.learn(pd.DataFrame(cells, dtype=object), schema).items():
        shown = ", ".join(f"{why.category} ({why.known} of {why.of} rows)" for why in list(found.values())[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        draft.comments[name] += f"; hardly ever known for {shown}{more}: say with applies_to where it does not apply"


def to_yaml(schema: Schema, comments: dict[str, str]) -> str:
    """The schema as YAML, with the comments behind what they are about; reading it gives the same schema."""
    data = schema.dump()
    lines = ["# Guessed by `attrgan infer-schema`: read it, correct it, then use it."]
    for key, value in data.items():
        if key in ("attributes", "sequences"):
            lines.append(f"{key}:")
            lines += ["  " + _line(name, entry, comments.get(name)) for name, entry in value.items()]
        elif isinstance(value, list):
            lines.append(f"{key}:")
            lines += [f"  - {_flow(item)}{_comment(comments.get(str(item)))}" for item in value]
        else:
            lines.append(_line(key, value, comments.get({"id": schema.id, "category": _CHOSEN}.get(key, ""))))
    used = {*schema.columns, *schema.personal, *schema.sequences, _CHOSEN}
    left = [(name, why) for name, why in comments.items() if name not in used]
    lines += ["# Left out:"] if left else []
    lines += [f"# {_flow(name)}: {_one_line(why)}" for name, why in left]
    return "\n".join(lines) + "\n"


def _identifier(columns: dict[str, Profile]) -> tuple[str, str]:
    """The id and why. A column named like one may have defects, which `validate` sets aside; another may not."""
    best: tuple[float, str] | None = None
    for place, profile in enumerate(columns.values()):
        named = bool(_ID.search(profile.name))
        if profile.shape not in ("text", "number") or not profile.known:
            continue
        if profile.known < (0.8 if named else 1.0) * profile.rows or profile.distinctness < (0.5 if named else 1.0):
            continue
        if not named and not _could_be_id(profile, place):
            continue
        exact = profile.name.lower() in ("id", "sku", "asin", "uuid")
        score = 4 * named + 2 * exact + 2 * (place == 0) + 8 * profile.distinctness * profile.known / profile.rows
        if best is None or score > best[0]:
            best = (score, profile.name)
    if best is None:
        raise CatalogError(
            f"no column of {', '.join(list(columns)[:20])} can be the id: expected one with a different value in every "
            "row, such as product_id; add one, for example the row number"
        )
    found = columns[best[1]]
    why = f"id: {found.distinct} different values in {found.rows} rows"
    return found.name, why if found.distinct == found.rows else f"{why}; `attrgan validate` sets the other rows aside"


def _could_be_id(profile: Profile, place: int) -> bool:
    """Whether distinct values under another name may be ids: short text, or whole numbers, in the first column."""
    if profile.shape == "number":
        if profile.form:
            return False
        numbers = profile.numbers
        whole = bool(np.all(numbers == np.round(numbers)))
        return place == 0 and whole and bool(np.all(np.diff(np.sort(numbers)) >= 1)) and len(numbers) > 1
    return place == 0 and profile.words() <= 3 and profile.matching(EMAIL) < 0.5


def _place(profile: Profile, draft: _Draft) -> None:
    """Gives a column its role."""
    for rule in (_left_out, _personal, _media, _number, _text, _closed):
        if rule(profile, draft):
            return
    draft.attributes[profile.name] = {"kind": "open"}
    draft.comments[profile.name] = f"open: {profile.distinct} different values in {profile.known} cells"


def _left_out(profile: Profile, draft: _Draft) -> bool:
    why = None
    if profile.shape == "empty":
        why = "no value in any row, nothing to learn from"
    elif profile.shape in ("other", "time"):
        why = "structured data" if profile.shape == "other" else "a date or time, which no kind of attribute describes"
    elif profile.shape != "bytes" and profile.distinct <= 1:
        why = "the same value in every row that has one"
    if why:
        draft.comments[profile.name] = f"left out: {why}"
    return why is not None


def _personal(profile: Profile, draft: _Draft) -> bool:
    share = max(profile.matching(EMAIL), profile.matching(PHONE)) if profile.shape == "text" else 0.0
    if share >= 0.5:
        why = f"{share:.0%} of the values look like e-mail addresses or telephone numbers"
    elif _PERSONAL.search(profile.name) and profile.distinctness > 0.3:
        why = "its name says personal data, and the values differ from row to row"
    else:
        return False
    draft.personal.append(profile.name)
    draft.comments[profile.name] = f"personal: {why}; removed before features"
    return True


def _media(profile: Profile, draft: _Draft) -> bool:
    if profile.shape == "bytes":
        kind = _magic(profile.values[0])
        if kind is None:
            draft.comments[profile.name] = "left out: bytes that are neither pictures nor sound"
            return True
    elif profile.shape == "text":
        named = bool(_IMAGE.search(profile.name)) and profile.matching(URL) >= 0.8
        images, audio = profile.matching(IMAGE_FILE) >= 0.8 or named, profile.matching(AUDIO_FILE) >= 0.8
        if not images and not audio:
            if profile.matching(URL) >= 0.8:
                draft.comments[profile.name] = "left out: addresses"
            return profile.matching(URL) >= 0.8
        kind = "images" if images else "audio"
    else:
        return False
    (draft.images if kind == "images" else draft.audio).append(profile.name)
    what = "bytes" if profile.shape == "bytes" else "paths or URLs"
    of = "pictures" if kind == "images" else "recordings; no level reads them yet"
    draft.comments[profile.name] = f"{kind}: {what} of {of}"
    return True


def _magic(head: bytes) -> str | None:
    if head[:4] == b"RIFF":
        return {b"WEBP": "images", b"WAVE": "audio"}.get(head[8:12])
    return next((kind for kind, heads in _MAGIC.items() if head.startswith(heads)), None)


def _number(profile: Profile, draft: _Draft) -> bool:
    if profile.shape != "number" or _CODE.search(profile.name) or profile.distinct <= 2:
        return False
    draft.attributes[profile.name], draft.comments[profile.name] = numeric.guess(profile)
    return True


def _text(profile: Profile, draft: _Draft) -> bool:
    if profile.shape != "text" or numeric.holds_dimensions(profile):
        return False
    words = profile.words()
    named = bool(_TEXT.search(profile.name))
    long = words >= 12 and profile.distinct > 0.1 * profile.known and profile.distinct > 2
    phrases = profile.distinctness > 0.5 and words >= (2 if named else 4) and profile.known >= 0.3 * profile.rows
    if not long and not phrases:
        return False
    draft.text.append(profile.name)
    draft.comments[profile.name] = f"text: {words:.1f} words on average, {profile.distinct} different"
    return True


def _closed(profile: Profile, draft: _Draft) -> bool:
    few = profile.distinct <= 0.5 * profile.known and profile.distinct <= max(12, 0.1 * profile.known)
    if not few or profile.distinct > MOST_VALUES:
        return False
    draft.attributes[profile.name] = {"kind": "categorical"}
    draft.comments[profile.name] = f"categorical: {profile.distinct} values in {profile.known} cells"
    return True


def _place_lists(lists: list[Profile], draft: _Draft) -> None:
    groups, alone = sequence_groups(lists)
    for name, (steps, why) in groups.items():
        draft.sequences[name] = {"columns": steps}
        draft.comments[name] = why
    for profile in alone:
        members = [m for cell in profile.values for m in cell]
        if members and all(isinstance(m, str) or m is None for m in members) and _is_set(profile, members):
            draft.attributes[profile.name] = {"kind": "categorical", "multi": True}
            draft.comments[profile.name] = f"multi: lists over {len(set(members))} values, none twice in a cell"
        else:
            draft.comments[profile.name] = "left out: lists without members, or of structured data"


def _is_set(profile: Profile, members: list[Any]) -> bool:
    once = sum(len(set(cell)) == len(cell) for cell in profile.values) >= 0.95 * len(profile.values)
    return once and float(np.mean([word_count(str(m)) for m in members])) <= 6


def _some_text(columns: dict[str, Profile], draft: _Draft) -> None:
    """Where no column is text for sure, the wordiest open one that is nearly always there serves as text."""
    wordy = [
        (profile.words(), name)
        for name, profile in columns.items()
        if draft.attributes.get(name) == {"kind": "open"} and profile.known >= 0.9 * profile.rows
    ]
    words, name = max(wordy, default=(0.0, ""))
    if not draft.text and words >= 2:
        del draft.attributes[name]
        draft.text.append(name)
        draft.comments[name] = f"text: the column with the most words ({words:.1f} on average)"


def _open_vocabularies(columns: dict[str, Profile], draft: _Draft) -> None:
    """Says of open attributes how often the text has the value; leaves out codes that no text has."""
    texts = [[str(c or "").lower() for c in columns[name].cells] for name in draft.text]
    whole = [" ".join(parts) for parts in zip(*texts, strict=True)] if texts else []
    for name in [n for n, entry in draft.attributes.items() if entry["kind"] == "open"]:
        profile = columns[name]
        pairs = [(str(c).strip().lower(), t) for c, t in zip(profile.cells, whole, strict=False) if c is not None]
        share = sum(value in text for value, text in pairs) / len(pairs) if pairs else 0.0
        if profile.distinctness > 0.95 and share < 0.05:
            del draft.attributes[name]
            draft.comments[name] = "left out: a different value in nearly every row, and the text does not have it"
        elif pairs:
            draft.comments[name] += f"; {share:.0%} of them stand in the text"


def _category(columns: dict[str, Profile], draft: _Draft) -> str | None:
    """The attribute that conditions the others: named like one, seldom empty, several values."""

    def rank(name: str) -> int:
        lower = name.lower()
        exact = [i for i, word in enumerate(_CATEGORY) if lower == word]
        inside = [i + 100 for i, word in enumerate(_CATEGORY[:7]) if word in lower]
        return min(exact + inside, default=1000)

    fit = [
        name for name, entry in draft.attributes.items()
        if entry["kind"] != "numeric" and not entry.get("multi") and rank(name) < 1000
        and columns[name].known >= 0.5 * columns[name].rows and columns[name].distinctness < 0.3
    ]  # fmt: skip
    if not fit:
        return None
    chosen = min(fit, key=rank)
    share = columns[chosen].known / columns[chosen].rows
    draft.comments[_CHOSEN] = f"its name says so, and {share:.0%} of the rows have it"
    return chosen


def _mapping(identifier: str, category: str | None, draft: _Draft) -> dict[str, Any]:
    stem = re.sub(r"[_\-. ]?(id|key|code|uuid|guid|sku|asin|ean|gtin|upc)$", "", identifier.lower())
    stem = re.sub(r"[^a-z0-9_]+", "_", stem).strip("_")
    goods = any(re.search(r"price|brand|sku|价|品牌", name.lower()) for name in draft.attributes)
    goods |= bool(re.search(r"(sku|asin|ean|gtin|upc)$", identifier.lower()))
    entity = stem if len(stem) > 2 and stem not in _CATEGORY else "product" if goods else "item"
    data: dict[str, Any] = {"entity": entity, "id": identifier}
    if category:
        data["category"] = category
    for key in ("text", "images", "audio", "sequences", "attributes", "personal"):
        if getattr(draft, key):
            data[key] = getattr(draft, key)
    return data


def _line(name: str, value: Any, comment: str | None) -> str:
    return f"{_flow(name)}: {_flow(value)}{_comment(comment)}"


def _flow(value: Any) -> str:
    """YAML on one line; a text with a line break in it (a column name) is escaped."""
    style: dict[str, Any] = {"default_flow_style": True, "width": 10**9, "sort_keys": False}
    text: str = yaml.safe_dump(value, allow_unicode=True, **style).removesuffix("\n").removesuffix("\n...")
    escaped: str = yaml.safe_dump(value, default_style='"', **style).removesuffix("\n")
    return text if len(text.splitlines()) == 1 else escaped


def _comment(comment: str | None) -> str:
    return f"  # {_one_line(comment)}" if comment else ""


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
