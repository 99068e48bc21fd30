"""Why a record was rejected, and what was mended in one that was kept: every code, in one place.

`rejected.jsonl` and the manifest use these codes; `fdrd build --help` lists them. What is done about a
reason, `fdrd.policy` decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Action = Literal["keep", "drop", "fail"]

REASONS: dict[str, str] = {
    "unreadable_annotations": "the annotation file or line is not what its name promises",
    "bad_field": "a field of the annotation has the wrong type or an impossible value",
    "caption_missing": "there is no caption for the image",
    "category_missing": "neither the annotation nor the folder names the category",
    "image_missing": "no file below the source root has the name that the annotation gives",
    "image_ambiguous": "several files below the source root could be meant",
    "path_outside": "the path is absolute or leaves the source root",
    "not_a_file": "the member of the archive is a link, a device or a sparse file",
    "read_error": "the operating system would not give the bytes; tried again on the next build",
    "not_an_image": "the bytes are in no accepted image format",
    "image_broken": "the image does not decode to its last row",
    "image_too_large": "the image has more pixels than --max-pixels",
    "image_too_small": "the shorter side of the image is less than --min-side",
    "image_too_narrow": "one side of the image is more than --max-aspect times the other",
    "caption_too_long": "the caption has more characters than --max-caption",
    "caption_over_tokens": "the text tower cuts the caption off: it has more tokens than the tower reads",
    "duplicate_id": "an earlier record has the same id",
    "duplicate_pair": "the same image with the same caption is there already",
    "image_in_other_split": "the same image is in a split of higher rank (test, validation, train)",
    "near_image_in_other_split": "an image that looks alike is in a split of higher rank",
    "near_image_in_split": "an image that looks alike, as large or larger, is in the same split",
    "group_in_other_split": "its group, as the frames of a video, is in a split of higher rank",
    "caption_in_other_split": "the same caption stands on another image in a split of higher rank",
}

DROPPED_IN_REVIEW = "dropped_in_review"
REVIEW_REASONS = {DROPPED_IN_REVIEW: "a reviewer dropped the record"}
"""Reasons that come from reviewers' decisions only, so no policy covers them."""

KEPT_IN_REVIEW = "kept_in_review"
"""The rule of a record that a reviewer keeps in spite of any reason in `KEEPABLE`."""

KEEPABLE: dict[str, Action] = {
    "image_too_small": "drop",
    "image_too_narrow": "drop",
    "caption_over_tokens": "keep",
    "duplicate_pair": "drop",
    "image_in_other_split": "drop",
    "near_image_in_other_split": "drop",
    "near_image_in_split": "keep",
    "group_in_other_split": "drop",
    "caption_in_other_split": "keep",
}
"""The reasons that leave a usable record, with what is done unless `--policy` says otherwise; all others drop."""

RULES: dict[str, str] = {
    KEPT_IN_REVIEW: "a reviewer kept the record in spite of the policy",
    "image_turned": "the picture lies on its side by its EXIF; fdrd shows it upright",
    "image_first_of_many": "the file holds several pictures; fdrd shows the first",
    "image_on_white": "parts of the picture are transparent; fdrd shows them on white",
    "image_made_8_bit": "the picture has more than 8 bits for a pixel; fdrd shows it in 8",
    "image_made_rgb": "the picture is in other colours, as CMYK; fdrd shows it in RGB",
    "caption_invisible": "control and other invisible characters of the caption were taken out",
    "caption_entities": "HTML entities in the caption became characters",
    "path_of_another_machine": "an absolute path of another machine was ignored; the file name decides",
    "path_placeholder": "a placeholder stood in the place of the path; the file name decides",
    "extension_added": "the name had no extension; the file on disk has",
    "folder_joined_to_name": "`folder_name.jpg` in the annotation is `folder/name.jpg` on disk",
    "category_joined_to_name": "`category_name.jpg` in the annotation is `name.jpg` on disk",
    "category_from_key": "no category field; the key up to the number is the category",
    "category_differs_from_folder": "the annotation's name for the category wins over the folder's",
    "category_underscores": "underscores in the name of the category became spaces",
    "caption_underscores": "underscores inside the caption became spaces",
    "caption_glued": "a space was put between two glued sentences",
    "article_mended": "`a` or `an` before the category was put right, as it is in the hard negatives",
    "caption_whitespace": "runs of white space became one space, ends were trimmed, Unicode composed",
    "negative_article": "`a` or `an` before the category that a given negative names was put right",
    "negative_equal": "a given negative that equals a caption of the image was dropped",
    "negative_repeated": "a given negative that repeats another was dropped",
}


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that was read and not kept.

    `file` is the annotation file (or the image where there is none) below the source root, `key` the
    key or line in it, `reason` a key of `REASONS`, `detail` what a reader needs to mend it.
    """

    file: str
    key: str
    reason: str
    detail: str = ""

    def __post_init__(self) -> None:
        if self.reason not in REASONS and self.reason not in REVIEW_REASONS:
            raise ValueError(f"unknown reason {self.reason!r}; add it to fdrd.reasons.REASONS")
