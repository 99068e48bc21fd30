"""What a user says about a source: layout, columns, and where categories come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from fdrd.errors import FdrdError
from fdrd.sources.reading.names import SPLIT_OF_WORD

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

    def over(self, other: SourceOptions) -> SourceOptions:
        """Return these options, completed by others."""
        chosen = {name: value for name, value in asdict(self).items() if value}
        if chosen.keys() & {"category", "category_from"}:
            other = replace(other, category="", category_from="")
        return replace(other, **chosen)

    def category_of(self, field: str, folders: tuple[str, ...], caption: str) -> str | None:
        """Return the category of a record, empty if it has none; None if it lacks the one asked for.

        Args:
            field: value of the category field.
            folders: names of the folders above the image.
            caption: caption of the record.
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
    pieces = re.split(r"(\{category\}|\*)", pattern)
    return re.compile(
        "".join(parts.get(piece, re.escape(piece)) for piece in pieces) + r"(?:$|(?=\W))"
    )


def make_options(
    *,
    layout: str | None = None,
    columns: Mapping[str, str | list[str]] | Iterable[str] = (),
    separator: str | None = None,
    category: str | None = None,
    category_from: str | None = None,
) -> SourceOptions:
    """Return checked options, as the command line and `domain.toml` give them.

    Raises:
        FdrdError: a value is unknown; the message lists the known ones.
    """
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
    found = _columns(columns)
    if kind == "column":
        found["category"] = (argument,)
    return SourceOptions(
        layout or "", tuple(sorted(found.items())), separator, category or "", category_from or ""
    )


def _columns(columns: Mapping[str, Any] | Iterable[str]) -> dict[str, tuple[str, ...]]:
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
