"""Captions for pictures that have none: draft, evaluate and feed back, filter noise, fit CLIP's length.

After figure 3 of arXiv 2508.04028. What answers a question about a picture is passed in (`Captioner`); nothing here
imports a model. `caption` runs it all, the captioners lie in the package `captioners`.
"""

from fdrd.captioning.cache import AnswerCache, default_cache
from fdrd.captioning.captioner import (
    Answer,
    Captioner,
    Expected,
    Failure,
    Question,
    captioner,
    captioner_names,
    captioner_options,
    captioner_summary,
    get_captioner,
)
from fdrd.captioning.pictures import Picture
from fdrd.captioning.spending import Spending

__all__ = [
    "Answer",
    "AnswerCache",
    "Captioner",
    "Expected",
    "Failure",
    "Picture",
    "Question",
    "Spending",
    "captioner",
    "captioner_names",
    "captioner_options",
    "captioner_summary",
    "default_cache",
    "get_captioner",
]
