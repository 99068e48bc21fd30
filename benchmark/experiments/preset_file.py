"""What a preset decides, as data: methods, their options, and options of the training. Imports no torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from benchmark.settings import OptionValue


class PresetFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a file of this folder.

    Attributes:
        methods: methods that run if none is named.
        remark: sentence that is printed with the numbers.
        train: options of the training.
        options: options by method, for those that have them.
    """

    methods: list[str]
    remark: str
    train: dict[str, OptionValue]
    options: dict[str, dict[str, OptionValue]]


@cache
def read_preset(name: str = "paper") -> PresetFile:
    """Return the preset of this name."""
    content = Path(__file__).with_name(f"{name}.toml").read_bytes()
    return msgspec.toml.decode(content, type=PresetFile)
