"""The audit: flaws of captions and negatives counted, and a blind baseline; needs no pictures."""

from fdrd.checks.audit.blind import Blind, blind_accuracy, blind_scores
from fdrd.checks.audit.report import Audit, Bias, audit, report
from fdrd.checks.audit.show import markdown, tables

__all__ = [
    "Audit",
    "Bias",
    "Blind",
    "audit",
    "blind_accuracy",
    "blind_scores",
    "markdown",
    "report",
    "tables",
]
