"""Captions for images that have none: draft, evaluate, give feedback, filter noise, fit CLIP's text length.

Follows figure 3 of arXiv 2508.04028. `caption` runs all of it. `captioners/` holds the models and servers that answer
questions about an image. May import pipeline, checks, storage, sources and the ground floor, but no model.
"""

from fdrd.captioning.captioning_run import CaptioningRun, CaptionSettings, caption
from fdrd.captioning.interface import (
    Answer,
    AnswerCache,
    Captioner,
    Failure,
    Question,
    Spending,
    captioner,
)
from fdrd.captioning.uncaptioned import UncaptionedImage

__all__ = [
    "Answer",
    "AnswerCache",
    "CaptionSettings",
    "Captioner",
    "CaptioningRun",
    "Failure",
    "Question",
    "Spending",
    "UncaptionedImage",
    "caption",
    "captioner",
]
