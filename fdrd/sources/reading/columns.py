"""Options of a source, and the columns of tables, JSON lines and the JSON of tar archives.

The options are layout, columns, and where categories come from. Columns are the fields of a pair, or extra ones.

Columns that fdrd does not know are kept as `Record.extra`, with names and values that any tool can hold. A name becomes
an identifier, with `_` at the end if fdrd has a column of that name. Width and height are left out, because fdrd
measures them. A column that cannot be kept is counted under the rule `column_left_out`.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, time
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from typing import Any
from unicodedata import normalize

from msgspec import structs

from fdrd.columns import KNOWN_COLUMNS, MAX_COLUMN_NAME, MEASURED
from fdrd.errors import FdrdError
from fdrd.record import Record, Scalar
from fdrd.sources.reading.names import DOWNLOAD, MAX_CAPTION, SPLIT_OF_WORD, is_image, is_url
from fdrd.text.markup import is_unicode
from fdrd.text.normalize import has_too_many_marks

CATEGORY_SOURCES = "folder parent column:NAME caption-pattern caption-pattern:TEXT none".split()
MAPPABLE = ("image", "caption", "category", "meta_category", "split", "group", "license", "id")

# Folders that are not categories: image directories, public sets, shard numbers.
_NOT_A_CATEGORY = re.compile(
    r"(images?|imgs?|photos?|pictures?|pics|jpe?gs?|jpegimages|pngs?|files|media|raw|data|dataset|all|allimages"
    r"|(train|val|test|unlabeled|dev|minival|restval)[_-]?20\d\d|flick[e]?r_?(8|30)k[\w-]*|flick[e]?r8k[\w-]*"
    r"|(coco|vg|sbu|cc3m|cc12m|gcc|laion|llava|textcaps)[\w-]*|vg_100k(_2)?"
    r"|(shard|part|chunk|batch)[_-]?\d+|\d{4,})",
    re.IGNORECASE,
)
_IN_CAPTION = re.compile(
    r"\b(?:photo(?:graph)?|image|picture) of (?:an? |the )?([^.,;:!?]+)", re.IGNORECASE
)

COLUMNS: dict[str, tuple[str, ...]] = {
    "image": (
        *("image", "file_name", "filename", "file", "file_path", "filepath", "path"),
        *("image_path", "image_file", "image_bytes", "img", "img_path", "jpg", "png", "webp"),
        *("image_name", "img_name", "image_filename", "photo", "picture"),
    ),
    "caption": (
        *("caption", "captions", "text", "texts", "sentence", "sentences", "description", "title"),
        *("comment", "comments", "raw", "caption_str", "conversations", "conversation", "messages"),
        *("answer", "answers", "alt_text", "alt"),
    ),
    "category": (
        *("category", "class_name", "classname", "class", "label", "label_name", "fine_label"),
        *("species", "breed", "variant"),
    ),
    "meta_category": ("meta_category", "supercategory", "super_category", "coarse_label"),
    "split": ("split",),
    "group": ("group",),
    "license": ("license", "licence"),
    "id": ("id",),
    "attributes": ("attributes",),
    "negatives": ("negatives", "negative", "hard_negatives"),
}
"""Names of each field, the preferred one first. Case, spaces and hyphens do not matter."""

MAX_COLUMNS = 32  # extra columns of a domain; those that come first are kept
LEFT_OUT = "column_left_out"
NESTED: tuple[()] = ()
"""Stands for a value that is not read, because its column holds lists, objects or bytes."""

_RESERVED = KNOWN_COLUMNS | {"split", "license", "rules", "extra", "file_name", "columns"}
_INT64 = range(-(2**63), 2**63)

_URLS = ("url", "urls", "image_url", "img_url", "link")
_NUMBERED = re.compile(r"(caption|text|sentence|description|comment)_?\d{1,2}")


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Options of one domain; what is empty is detected. Options of a command override `domain.toml`."""

    layout: str = ""
    """Reader to use; otherwise the first that detects its layout."""
    columns: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Names of the columns for fields; several for captions in several columns."""
    separator: str = ""
    """Separator of tables; otherwise detected in the first line."""
    category: str = ""
    """Category of all records."""
    category_from: str = ""
    """One of `CATEGORY_SOURCES`; otherwise a field, else the image's folder if that may be a category."""

    def over(self, other: "SourceOptions") -> "SourceOptions":
        """Return these options, completed by others."""
        chosen = {name: value for name, value in asdict(self).items() if value}
        if chosen.keys() & {"category", "category_from"}:
            other = replace(other, category="", category_from="")
        return replace(other, **chosen)

    def category_of(self, field: str, folders: tuple[str, ...], caption: str) -> str | None:
        """Return the category of a record, empty if it has none; None if it lacks the one asked for.

        It may come from the value of the category field, the folders above the image, or the caption.
        """
        if self.category:
            return self.category
        match self.category_from.partition(":")[0]:
            case "none":
                return ""
            case "folder":
                return folders[-1] if folders else None
            case "parent":
                return folders[-2] if len(folders) > 1 else None
            case "column":
                return field or None
            case "caption-pattern":
                found = caption_pattern(self.category_from).search(caption)
                return found[1].strip() if found else None
        return field or (folders[-1] if folders and may_be_category(folders[-1]) else "")


NO_OPTIONS = SourceOptions()


def may_be_category(folder: str) -> bool:
    """Return whether a folder name may be a category, unlike a split or a folder of images.

    >>> [may_be_category(name) for name in ("wren", "val2017", "00000", "Flicker8k_Dataset", "train")]
    [True, False, False, False, False]
    """
    return folder.lower() not in SPLIT_OF_WORD and not _NOT_A_CATEGORY.fullmatch(folder)


def caption_pattern(text: str) -> re.Pattern[str]:
    """Return the pattern of `caption-pattern`, by default the words after "photo of a".

    >>> caption_pattern("caption-pattern").search("This is a photo of a house wren.")[1]
    'house wren'
    >>> caption_pattern("caption-pattern:{category} on *").search("A wren on a branch.")[1]
    'A wren'
    """
    _, _, pattern = text.partition(":")
    if not pattern:
        return _IN_CAPTION
    parts = {"{category}": "([^.,;:!?]+?)", "*": ".*"}
    pieces = [parts.get(each, re.escape(each)) for each in re.split(r"(\{category\}|\*)", pattern)]
    return re.compile("".join(pieces) + r"(?:$|(?=\W))")


def make_options(
    *,
    layout: str | None = None,
    columns: Mapping[str, str | list[str]] | Iterable[str] = (),
    separator: str | None = None,
    category: str | None = None,
    category_from: str | None = None,
) -> SourceOptions:
    """Return checked options, as commands and `domain.toml` give them. Raise `FdrdError` for an unknown value."""
    if category and category_from:
        raise FdrdError("`category` and `category_from` exclude each other; keep one")
    kind, _, argument = (category_from or "").partition(":")
    fits = {
        "column": bool(argument),
        "caption-pattern": not argument or argument.count("{category}") == 1,
    }
    if category_from and not fits.get(kind, not argument and kind in CATEGORY_SOURCES):
        raise FdrdError(
            f"`category_from` {category_from!r}: choose from {', '.join(CATEGORY_SOURCES)}; TEXT contains "
            "{category} once"
        )
    separator = "\t" if separator in ("tab", "\\t") else separator or ""
    if len(separator) > 1 or separator in ('"', "\n", "\r"):
        raise FdrdError(f"`separator` {separator!r}: give one character, or tab")
    found = _mapped(columns)
    if kind == "column":
        found["category"] = (argument,)
    return SourceOptions(
        layout or "", tuple(sorted(found.items())), separator, category or "", category_from or ""
    )


def _mapped(columns: Mapping[str, Any] | Iterable[str]) -> dict[str, tuple[str, ...]]:
    if not isinstance(columns, Mapping):
        pairs = [each.partition("=") for each in columns]
        if wrong := next(("".join(pair) for pair in pairs if not pair[1]), ""):
            raise FdrdError(f"`columns` {wrong!r}: write FIELD=COLUMN, e.g. image=filepath")
        columns = {field.strip(): names for field, _, names in pairs}
    found: dict[str, tuple[str, ...]] = {}
    for field, names in columns.items():
        if field not in MAPPABLE:
            raise FdrdError(f"`columns` {field}=...: choose a field from {', '.join(MAPPABLE)}")
        names = names.split(",") if isinstance(names, str) else names
        if not isinstance(names, list) or not all(isinstance(n, str) and n.strip() for n in names):
            raise FdrdError(f"`columns` {field}: give the name of a column, e.g. {field}=title")
        if len(names) > 1 and field != "caption":
            raise FdrdError(f"`columns` {field}: only captions may have several columns")
        found[field] = tuple(name.strip() for name in names)
    return found


def find_columns(
    columns: Iterable[str], options: SourceOptions = NO_OPTIONS
) -> dict[str, tuple[str, ...]]:
    """Return the columns that hold each field: one, or several for captions.

    >>> find_columns(["Image Path", "title", "caption", "price"])
    {'image': ('Image Path',), 'caption': ('caption',)}
    >>> find_columns(["path", "caption_1", "caption_2"])["caption"]
    ('caption_1', 'caption_2')
    """
    by_plain = {_plain(name): name for name in reversed(list(columns))}
    mapped = dict(options.columns)
    found = {}
    for field, known in COLUMNS.items():
        names = map(_plain, mapped.get(field, known))
        wanted = [by_plain[name] for name in names if name in by_plain]
        if field not in mapped:
            wanted = wanted[:1]
            if field == "caption" and not wanted:
                numbered = filter(_NUMBERED.fullmatch, reversed(by_plain))
                wanted = [by_plain[name] for name in numbered]
        if wanted:
            found[field] = tuple(wanted)
    return found


@lru_cache(maxsize=1)  # neighboring objects have the same names
def _columns_of_row(names: tuple[str, ...], options: SourceOptions) -> dict[str, tuple[str, ...]]:
    return find_columns(names, options)


def known_fields(values: Mapping[str, Any], options: SourceOptions = NO_OPTIONS) -> dict[str, Any]:
    """Return the values of an object by field. `extra` has those that belong to no field, by their names."""
    columns = _columns_of_row(tuple(values), options)
    fields = {field: merge([values[name] for name in names]) for field, names in columns.items()}
    used = set(chain.from_iterable(columns.values()))
    extra = {name: value for name, value in values.items() if name not in used}
    return fields | ({"extra": extra} if extra else {})


def merge(values: list[Any]) -> Any:
    """Return the value of a field with one column, or a list of the values of several columns."""
    if len(values) == 1:
        return values[0]
    lists = (value if isinstance(value, list) else [value] for value in values)
    return [value for values in lists for value in values if value not in (None, "")]


def flaw_of_columns(
    file: str,
    names: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    fields: Iterable[str],
    options: SourceOptions,
    kind: str = "column",
) -> str | None:
    """Return which fields the columns of a file lack, and the option that names them; None if they lack none."""
    found = find_columns(names, options)
    missing = [field for field in fields if field not in found]
    if not missing:
        return None
    flaw = f"{file} has no {' or '.join(missing)} {kind}; its {kind}s are {', '.join(names)[:200]}"
    rows = list(rows)
    with_url = [name for row in rows for name, value in row.items() if is_url(str(value))]
    with_url += [name for name in names if _plain(name) in _URLS]
    if "image" in missing and with_url:
        return f"{flaw}; {with_url[0]} has URLs: {DOWNLOAD}"
    return f"{flaw}; name it with {suggest_options(rows, missing)}"


def suggest_options(rows: Iterable[Mapping[str, Any]], missing: Iterable[str]) -> str:
    """Return the `--map` options that rows need: image names look like images, captions are long.

    >>> suggest_options([{"Bild": "a/1.jpg", "Satz": "A brown wren.", "n": "3"}], ["image", "caption"])
    '--map image=Bild --map caption=Satz'
    >>> suggest_options([{"url": "x"}], ["caption"])
    '--map caption=COLUMN'
    """
    likely: dict[str, Counter[str]] = {"image": Counter(), "caption": Counter()}
    for name, value in chain.from_iterable(row.items() for row in rows):
        listed = value if isinstance(value, list) else [value]
        text = max(listed, key=lambda each: len(str(each)), default="")
        if isinstance(text, str) and is_image(text):
            likely["image"][name] += 1
        elif isinstance(text, str) and " " in text.strip():
            likely["caption"][name] += len(text)
    best = {field: counts.most_common(1)[0][0] for field, counts in likely.items() if counts}
    return " ".join(f"--map {field}={best.get(field, 'COLUMN')}" for field in missing)


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def extra_columns(unknown: Mapping[str, Any]) -> tuple[dict[str, Scalar], bool]:
    """Return the extra columns of a row, and whether one was left out. Empty values are null.

    >>> extra_columns({"taken by": "Ann", "source": "web", "boxes": [1], "width": 9, "note": ""})
    ({'taken_by': 'Ann', 'source_': 'web'}, True)
    """
    found: dict[str, Scalar] = {}
    complete = True
    for column, value in unknown.items():
        if value is None or value == "" or value != value:
            continue
        name = _identifier(column[: 4 * MAX_COLUMN_NAME])
        if name in MEASURED:
            continue
        scalar = _scalar(value)
        if scalar is None or not name or name in found or len(found) == MAX_COLUMNS:
            complete = False
        else:
            found[name + "_" * (name in _RESERVED)] = scalar
    return found, not complete


def within_limit(record: Record, names: dict[str, None]) -> Record:
    """Return a record without the extra columns after the first `MAX_COLUMNS` of its domain.

    `names` are the columns of the records before it, and are updated.
    """
    kept = {}
    for name, value in record.extra.items():
        if name in names or len(names) < MAX_COLUMNS:
            names[name] = None
            kept[name] = value
    if len(kept) == len(record.extra):
        return record
    rules = (*(rule for rule in record.rules if rule != LEFT_OUT), LEFT_OUT)
    return structs.replace(record, extra=kept, rules=rules)


@lru_cache(maxsize=1024)
def _identifier(column: str) -> str:
    """Return the name of a column as an identifier, empty if it has no letter, digit or underscore.

    >>> _identifier("taken by (name)"), _identifier("2nd"), _identifier("?")
    ('taken_by_name', '_2nd', '')
    """
    name = normalize("NFKC", column) if is_unicode(column) else ""
    name = re.sub(r"\W+", "_", name).strip("_")
    name = name if name.isidentifier() or not name else f"_{name}"
    name = name[: MAX_COLUMN_NAME - 1]
    return name if name.isidentifier() else ""


def _scalar(value: object) -> Scalar | None:
    """Return the value of a column, or None for one that cannot be kept."""
    match value:
        case bool():
            return value
        case int():
            return value if value in _INT64 else str(value)
        case float():
            return value if math.isfinite(value) else None
        case date() | time() | Decimal():
            return str(value)
        case str():
            short = len(value) <= MAX_CAPTION and is_unicode(value)
            return value if short and not has_too_many_marks(value) else None
    return None
