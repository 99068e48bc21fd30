"""What an encoder may offer, and the options that follow its name: `NAME#precision=bfloat16,compile=yes`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Literal

from fdrd.errors import FdrdError
from fdrd.options import options_of, read_options, split_assignments

PROMPTS, TOKENS, WEIGHTS, LAYERS = "prompts", "token features", "trainable weights", "layers"
"""What a backbone may offer beyond pooled features."""

ALL = frozenset({PROMPTS, TOKENS, WEIGHTS, LAYERS})

APART = "separate spaces"
"""In `Encoder.can` if images and captions have features of two spaces, which a method must join."""

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class EncoderOptions:
    """How an encoder runs.

    Attributes:
        precision: precision of its matrix products; features and similarities stay float32. Another precision is
            another encoder: it has its own fingerprint, results, checkpoints and cached features.
        pool: what the attention head of SigLIP attends to: all tokens, or patches only.
        compile: compile the towers with torch where no prompts enter and nothing is trained.
    """

    precision: Precision = "float32"
    pool: Literal["all", "patches"] = "all"
    compile: bool = False

    def only(self, name: str, *supported: str) -> None:
        """Refuse options that an encoder does not have."""
        for field in fields(self):
            if field.name not in supported and getattr(self, field.name) != field.default:
                there_are = ", ".join(supported) or "none"
                raise FdrdError(
                    f"backbone {name!r}: no option {field.name}; this encoder has {there_are}"
                )

    def fingerprint(self, digest: str) -> str:
        """Return the fingerprint of an encoder under its precision."""
        if self.precision == "float32":
            return digest
        return hashlib.sha256(f"{digest} {self.precision}".encode()).hexdigest()


def split_options(spec: str) -> tuple[str, EncoderOptions]:
    """Return the name of an encoder and its options.

    >>> split_options("org/name@v1#precision=bfloat16")[1].precision, split_options("org/name")[0]
    ('bfloat16', 'org/name')
    """
    name, _, text = spec.partition("#")
    values = split_assignments(text.split(",") if text else (), f"backbone {name}#")
    return name, EncoderOptions(**read_options(options_of(EncoderOptions), values, "backbone"))
