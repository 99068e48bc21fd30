"""Make pairs of named fields, as metadata files, tables and the samples of archives have them.

The field is `caption` (a string, a list, or a conversation). Optional are `id`, `category` (default: the
name of the image's folder if that may be a category), `meta_category`, `split`, `group`, `license`,
`attributes` [{type, value, start, end}] and `negatives` [a caption, or {caption, category, kind}].
`reading.columns` lists other names for them.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from fdrd.reasons import Rejection
from fdrd.record import KINDS, Attribute, ImageRef, Negative, Record, Scalar, Source, Split
from fdrd.sources.reading.columns import LEFT_OUT, SourceOptions, extra_columns
from fdrd.sources.reading.lines import Line
from fdrd.sources.reading.names import MAX_CAPTION, MAX_NAME, SPLIT_OF_WORD
from fdrd.text.normalize import (
    MAX_MARKS,
    has_too_many_marks,
    move_spans,
    normalize_caption,
    normalize_category,
    normalize_described,
)

Pairs = Iterator[Record | Rejection]
"""The pairs of a source, and rejections of what claims to be one."""

_ANSWERS = ("gpt", "assistant", "model", "bot")  # speakers of captions in conversations
_SENTENCE = ("raw", "caption", "text", "sentence")  # keys of a caption that is an object
MAX_LISTED = 1000
"""Attributes or negatives of a line. Each of its captions has all of them."""

_TEXT_FIELDS = ("id", "category", "meta_category", "group", "split", "license")
_DAMAGE = (TypeError, KeyError, ValueError, OverflowError)


def pairs(
    options: SourceOptions,
    line: Line,
    image: ImageRef,
    path: str = "",
    split: Split = "",
    name: str = "",
) -> Pairs:
    """Yield a pair for each caption of a line, or one with an empty caption if it has none.

    Args:
        options: options of the source.
        line: row with fields named as in `fdrd.record.Record`.
        image: image of all its captions.
        path: path whose folders name category and split if the line does not.
        split: split if neither names one.
        name: id if the line has none, numbered from the second caption on.
    """
    texts: dict[str, str] = {}
    for field in _TEXT_FIELDS:
        value = line.fields.get(field)
        if value is not None and not isinstance(value, str | int):
            yield line.reject("bad_field", f'"{field}" is a {type(value).__name__}, not a string')
            return
        texts[field] = "" if value is None else str(value).strip()
        if len(texts[field]) > MAX_NAME:
            yield line.reject("bad_field", f'"{field}" has over {MAX_NAME} characters')
            return
    shared = _shared(line)
    extra = extra_columns(line.fields.get("extra", {}))
    first = texts["id"] or name
    *folders, _ = [part for part in path.split("/") if part not in ("", ".")] or [""]
    for rank, caption in enumerate(captions_of(line.fields.get("caption")) or [None], 1):
        texts["id"] = f"{first}#{rank}" if rank > 1 and first else first
        yield _record(options, line, texts, image, tuple(folders), split, caption, shared, extra)


def _shared(line: Line) -> tuple[list[Any], tuple[Negative, ...]] | str:
    """Return the attributes and negatives of a line, which all of its captions share; or what is wrong."""
    try:
        return _listed(line.fields.get("attributes")), _negatives(line.fields.get("negatives"))
    except _DAMAGE as error:
        return str(error)


def _record(
    options: SourceOptions,
    line: Line,
    texts: dict[str, str],
    image: ImageRef,
    folders: tuple[str, ...],
    split: Split,
    caption: object,
    shared: tuple[list[Any], tuple[Negative, ...]] | str,
    extra: tuple[dict[str, Scalar], bool],
) -> Record | Rejection:
    text: Any = "" if caption is None else caption
    if flaw := text_flaw("caption", text, MAX_CAPTION):
        return line.reject("bad_field", flaw)
    wanted = options.category_of(texts["category"], folders, text)
    if wanted is None:
        detail = f"--category-from {options.category_from} finds none for {image}"
        return line.reject("category_missing", detail)
    found = _split(texts["split"], folders)
    if found is None:
        known = ", ".join(sorted(SPLIT_OF_WORD))
        return line.reject("bad_field", f'"split" is {texts["split"]!r}; known are {known}')
    if isinstance(shared, str):
        return line.reject("bad_field", f"attributes or negatives: {shared}")
    category, category_rules = normalize_category(wanted)
    normal, caption_rules = normalize_described(text, category)
    listed, negatives = shared
    try:
        attributes = move_spans(_attributes(listed, text), text, normal) if listed else ()
    except _DAMAGE as error:
        return line.reject("bad_field", f"attributes or negatives: {error}")
    return Record(
        id=texts["id"],
        image=image,
        caption=normal,
        category=category,
        source=Source(
            image.path, license=texts["license"] or "unknown", origin=f"{line.file}: {line.key}"
        ),
        meta_category=texts["meta_category"],
        group=texts["group"],
        split=found or split,
        attributes=attributes,
        negatives=negatives,
        rules=(*category_rules, *caption_rules, *([LEFT_OUT] if extra[1] else [])),
        extra=extra[0],
    )


def text_flaw(field: str, value: object, limit: int) -> str:
    """Return what is wrong with a field that must be a text of at most `limit` characters; empty if nothing is."""
    if not isinstance(value, str):
        return f'"{field}" is a {type(value).__name__}'
    if len(value) > limit:
        return f'"{field}" has over {limit} characters'
    if has_too_many_marks(value):
        return f'"{field}" has over {MAX_MARKS} combining marks in a row'
    return ""


def exported_fields(caption: object) -> dict[str, Any]:
    """Return the fields that `fdrd export` adds to a caption of COCO or Karpathy.

    Keys of the same names that others wrote in another form are ignored.

    >>> exported_fields({"raw": "A.", "attributes": {"color": "red"}, "record": {"id": "7", "box": 1}})
    {'id': '7'}
    """
    if not isinstance(caption, dict):
        return {}
    found = {
        field: rows
        for field, key in (("attributes", "start"), ("negatives", "caption"))
        if isinstance(rows := caption.get(field), list)
        and all(isinstance(row, dict) and key in row for row in rows)
    }
    about = record if isinstance(record := caption.get("record"), dict) else {}
    return found | {key: about[key] for key in ("id", "group", "license") if key in about}


def unknown_fields(fields: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return the fields of an object that its layout does not know, with the `columns` that fdrd wrote into it.

    >>> unknown_fields({"id": 1, "url": "x", "record": {"columns": {"year": 2000}}}, ("id",))
    {'url': 'x', 'year': 2000}
    """
    record = fields.get("record")
    written = (record if isinstance(record, dict) else fields).get("columns")
    known = {*known, "record", "columns", "attributes", "negatives", "natural_pairs"}
    rest = {name: value for name, value in fields.items() if name not in known}
    return rest | (written if isinstance(written, dict) else {})


def captions_of(value: object) -> list[Any]:
    """Return the captions in a field: of a list, a conversation, a JSON list, or a `raw` sentence.

    >>> captions_of([{"raw": "A cat."}, "A pet."]), captions_of('["A cat.", "A pet."]')
    (['A cat.', 'A pet.'], ['A cat.', 'A pet.'])
    >>> captions_of([{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "A cat."}])
    ['A cat.']
    """
    if isinstance(value, str) and value.startswith('["') and value.endswith('"]'):
        try:
            value = json.loads(value)
        except ValueError:
            return [value]
    value = _sentence(value)
    items = value if isinstance(value, list) else [value]
    turns = [turn for each in items if (turn := _turn(each))]
    if turns:
        answers = (text for speaker, text in turns if speaker in _ANSWERS)
        return [text.replace("<image>", "").strip() for text in answers][:1]
    return [_sentence(each) for each in items]


def _sentence(value: object) -> object:
    """Return the caption of an object that has one under a known key; anything else as it is."""
    if isinstance(value, dict):
        return next((value[key] for key in _SENTENCE if key in value), value)
    return value


def _turn(value: object) -> tuple[str, str] | None:
    """Return the speaker and text of a turn in a conversation."""
    for speaker, text in (("from", "value"), ("role", "content")):
        if isinstance(value, dict) and isinstance(value.get(speaker), str):
            found = value.get(text)
            return value[speaker], found if isinstance(found, str) else ""
    return None


def _split(word: str, folders: tuple[str, ...]) -> Split | None:
    if word:
        return SPLIT_OF_WORD.get(word.lower())
    named = (SPLIT_OF_WORD.get(folder.lower(), "") for folder in folders)
    return next(filter(None, named), "")


def _listed(value: object) -> list[Any]:
    """Return a list that a row holds as such or, in text cells, as JSON."""
    if value is None or value == "":
        return []
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = json.loads(value)
    if not isinstance(value, list):
        raise TypeError(f"a {type(value).__name__}, not a list")
    if len(value) > MAX_LISTED:
        raise ValueError(f"a list of {len(value)}, of at most {MAX_LISTED}")
    return value


def _attributes(listed: list[Any], caption: str) -> tuple[Attribute, ...]:
    attributes = []
    for value in listed:
        start, end = int(value["start"]), int(value["end"])
        attributes.append(Attribute(str(value["type"]), str(value["value"]), start, end))
    for attribute in attributes:
        found = caption[attribute.start : attribute.end]
        if attribute.start < 0 or found != attribute.value or not found or not attribute.type:
            position = f"{attribute.start}:{attribute.end}"
            text = f"{attribute.value[:80]!r} is not at {position}"
            raise ValueError(f"{text}, where the caption has {found[:80]!r}")
    return tuple(attributes)


def _negatives(value: object) -> tuple[Negative, ...]:
    listed = ({"caption": each} if isinstance(each, str) else each for each in _listed(value))
    return tuple(map(_negative, listed))


def _negative(fields: dict[str, Any]) -> Negative:
    if not isinstance(fields, dict):
        raise TypeError(f"a negative is a string or an object, not a {type(fields).__name__}")
    kind = fields.get("kind") or "category"
    if kind not in KINDS:
        raise ValueError(f"the kind of a negative is {' or '.join(KINDS)}, not {str(kind)[:80]!r}")
    if flaw := text_flaw("caption", fields["caption"], MAX_CAPTION):
        raise ValueError(f"in a negative, {flaw}")
    if not (normal := normalize_caption(fields["caption"])[0]):
        raise ValueError("a negative has no visible text")
    category = str(fields.get("category") or "")
    attribute_type = str(fields.get("attribute_type") or "")
    if max(len(category), len(attribute_type)) > MAX_NAME:
        raise ValueError(f"a name in it has over {MAX_NAME} characters")
    return Negative(normal, normalize_category(category)[0], kind, attribute_type or None)
