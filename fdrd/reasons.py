"""All reason codes of rejected records, and all rule codes of records that were fixed.

`rejected.jsonl` and the manifest use these codes, and `fdrd build --reasons` lists them. A policy maps all keys of
`REASONS` to actions: keep and report the record, drop it, or fail the build. A record that is kept in spite of a reason
has the reason among its `rules`, and the manifest counts it as reported.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Literal, cast, get_args

from msgspec import Struct

from fdrd.errors import FdrdError
from fdrd.record import Record

Action = Literal["keep", "drop", "fail"]
Policy = Mapping[str, Action]

REASONS: dict[str, str] = {
    "unreadable_annotations": "the annotation file or line is not in the expected format",
    "bad_field": "a field of the annotation has the wrong type or an invalid value",
    "caption_missing": "the image has no caption",
    "category_missing": "neither the annotation nor the folder names the category",
    "image_missing": "no file below the source root has the name in the annotation",
    "image_ambiguous": "several files below the source root match the name in the annotation",
    "path_outside": "the path is absolute or leaves the source root",
    "not_a_file": "the member of the archive is a link, a device or a sparse file",
    "read_error": "the file could not be read; the next build tries again",
    "not_an_image": "the file is not in an accepted image format",
    "image_broken": "the image cannot be decoded completely",
    "image_too_large": "the image has more pixels than --max-pixels",
    "image_too_small": "the shorter side of the image is less than --min-side",
    "image_too_narrow": "the longer side of the image is more than --max-aspect times the shorter",
    "image_uniform": "the brightness is almost uniform (contrast below 3 gray levels)",
    "image_low_contrast": "the brightness varies little (contrast below 10 gray levels)",
    "image_blurred": "the image shows no details finer than a tenth of its width",
    "caption_too_long": "the caption has more characters than --max-caption",
    "caption_over_tokens": "the caption has more tokens than the text encoder reads and is truncated",
    "duplicate_id": "an earlier record has the same id",
    "duplicate_pair": "an earlier record has the same image and caption",
    "image_in_other_split": "the same image is in a split of higher rank (test, validation, train)",
    "near_image_in_other_split": "a near duplicate of the image is in a split of higher rank",
    "near_image_in_split": "a near duplicate of the image, as large or larger, is in the same split",
    "mirrored_image_in_other_split": "its mirrored or turned copy is in a split of higher rank",
    "mirrored_image_in_split": "its mirrored or turned copy, as large or larger, is in the same split",
    "group_in_other_split": "its group, e.g. the frames of a video, is in a split of higher rank",
    "caption_in_other_split": "another image in a split of higher rank has the same caption",
}

DROPPED_IN_REVIEW = "dropped_in_review"
NOT_SELECTED = "not_selected"
REVIEW_REASONS = {
    DROPPED_IN_REVIEW: "a reviewer dropped the record",
    NOT_SELECTED: "the file of --only does not have its id",
}
"""Reasons that come from people's choices only, so no policy covers them."""

KEPT_IN_REVIEW = "kept_in_review"
"""The rule of a record that a reviewer keeps in spite of any reason in `KEEPABLE`."""

KEEPABLE: dict[str, Action] = {
    "image_too_small": "drop",
    "image_too_narrow": "drop",
    "image_uniform": "keep",
    "image_low_contrast": "keep",
    "image_blurred": "keep",
    "caption_over_tokens": "keep",
    "duplicate_pair": "drop",
    "image_in_other_split": "drop",
    "near_image_in_other_split": "drop",
    "near_image_in_split": "keep",
    "mirrored_image_in_other_split": "drop",
    "mirrored_image_in_split": "keep",
    "group_in_other_split": "drop",
    "caption_in_other_split": "keep",
}
"""Reasons that leave a usable record, with the default action. All other reasons drop the record."""

CAPTION_FROM_REVIEW = "caption_from_review"  # the rule of a record whose caption a reviewer wrote

RULES: dict[str, str] = {
    CAPTION_FROM_REVIEW: "a reviewer wrote the caption, because the source has none",
    KEPT_IN_REVIEW: "a reviewer kept the record in spite of the policy",
    "image_turned": "the EXIF orientation is not upright; the image is shown upright",
    "image_first_of_many": "the file has several frames; the first is shown",
    "image_on_white": "parts of the image are transparent; they are shown on white",
    "image_made_8_bit": "the image has more than 8 bits per pixel; it is shown in 8 bits",
    "image_made_rgb": "the image has another color space, e.g. CMYK; it is shown in RGB",
    "caption_invisible": "control and other invisible characters were removed from the caption",
    "caption_entities": "HTML entities in the caption were replaced by characters",
    "path_of_another_machine": "an absolute path of another machine was ignored; its end, or the file name, was used",
    "path_placeholder": "the path was a placeholder; the file name was used",
    "extension_added": "the name has no extension, the file on disk has one",
    "folder_joined_to_name": "`folder_name.jpg` in the annotation is `folder/name.jpg` on disk",
    "category_joined_to_name": "`category_name.jpg` in the annotation is `name.jpg` on disk",
    "category_from_key": "there is no category field; the key up to the number is the category",
    "category_differs_from_folder": "annotation and folder name different categories; the annotation wins",
    "column_left_out": "a column that fdrd does not know holds lists, objects or a long text, or is one of over 32",
    "split_by_image": "most categories have one image, so the image decides the split; no other split has its category",
    "category_number": "the number before the category name, as in `001.wren`, was removed",
    "category_underscores": "underscores in the category name were replaced by spaces",
    "caption_underscores": "underscores inside the caption were replaced by spaces",
    "caption_glued": "a missing space between two sentences was added",
    "article_fixed": "`a` or `an` before the category was fixed, as in the hard negatives",
    "caption_whitespace": "white space was normalized and Unicode composed (NFC)",
    "negative_article": "`a` or `an` before the category in a given negative was fixed",
    "negative_equal": "a given negative that equals a caption of the image was dropped",
    "negative_repeated": "a given negative that repeats another was dropped",
    "negatives_fewer": "there are fewer hard negatives than asked for: no other swap is plausible",
}


class Rejection(Struct, frozen=True, gc=False):
    """A record that was read and rejected."""

    file: str  # annotation file (or the image if there is none), relative to the source root
    key: str  # key or line in the file
    reason: str  # a key of `REASONS` or `REVIEW_REASONS`
    detail: str = ""  # what a reader needs to fix it

    def __post_init__(self) -> None:
        if self.reason not in REASONS and self.reason not in REVIEW_REASONS:
            raise ValueError(f"unknown reason {self.reason!r}; add it to fdrd.reasons.REASONS")

    def __str__(self) -> str:
        begin = f"{' '.join(filter(None, (self.file, self.key)))}: "
        return f"{begin}{self.detail.removeprefix(begin)}"


def default_action(reason: str) -> Action:
    """Return the action for a reason unless the user chooses another."""
    return KEEPABLE.get(reason, "drop")


def resolve(chosen: Mapping[str, str]) -> dict[str, Action]:
    """Return the complete policy: the chosen actions, and the defaults for all other reasons.

    Raise `FdrdError` if the reason or the action is unknown, or a record without a usable image or caption would be
    kept.

    >>> resolve({"image_in_other_split": "fail"})["image_in_other_split"]
    'fail'
    """
    policy = {reason: default_action(reason) for reason in REASONS}
    for reason, action in chosen.items():
        choice = f"`policy` {reason}={action}"
        if reason not in REASONS:
            raise FdrdError(f"{choice}: unknown reason {reason!r}{_suggestion(reason, REASONS)}")
        if action not in get_args(Action):
            close = _suggestion(action, get_args(Action))
            raise FdrdError(f"{choice}: the action must be keep, drop or fail{close}")
        if action == "keep" and reason not in KEEPABLE:
            raise FdrdError(
                f"{choice}: such a record cannot be kept ({REASONS[reason]}); choose drop or fail"
            )
        policy[reason] = cast(Action, action)
    return policy


def parse(options: Iterable[str]) -> dict[str, Action]:
    """Return the complete policy for `REASON=ACTION` options; a later option overrides an earlier one.

    Raise `FdrdError` if an option has another form, or `resolve` rejects it.

    >>> parse(["duplicate_pair=keep"])["duplicate_pair"]
    'keep'
    """
    chosen: dict[str, str] = {}
    for option in options:
        reason, equals, action = (part.strip() for part in option.partition("="))
        if not (reason and equals and action):
            raise FdrdError(
                f"`policy` {option!r}: give REASON=keep, REASON=drop or REASON=fail, e.g. "
                "caption_in_other_split=drop; `fdrd build --reasons` lists them"
            )
        chosen[reason] = action
    return resolve(chosen)


def reject(record: Record, reason: str, detail: str) -> Rejection:
    """Return the rejection of a record, located by the annotation that it came from."""
    file, _, key = record.source.origin.partition(": ")
    return Rejection(file, key, reason, detail)


def _suggestion(name: str, known: Iterable[str]) -> str:
    if close := difflib.get_close_matches(name, list(known), n=3, cutoff=0.5):
        return f"; did you mean {' or '.join(close)}?"
    return "; `fdrd build --reasons` lists them"
