"""The words of the project are those of the glossary in CONTRIBUTING.md."""

import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
KEYS = set(
    re.findall(r"`(\w+)`", GUIDE.partition("keys and values are exempt:")[2].split(".\n")[0])
)
DATA = (
    "fdrd/field_guide/",
    "fdrd/captioning/noise.py",
    "fdrd/captioning/wording.py",
    "fdrd/text/attributes.py",
    "tests/",
)
"""Where string literals are data: drawn captions, prompts that key paid answers, captions of tests."""


def banned_words():
    """Map each banned word to the one to use."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", GUIDE.partition("## Glossary")[2], re.M)
    return {
        word.strip(): use.strip()
        for use, words in rows
        if use != "use"
        for word in words.split(",")
    }


BANNED = banned_words()
PATTERN = re.compile(
    r"\b(" + "|".join(re.escape(word) for word in sorted(BANNED, key=len, reverse=True)) + r")\b",
    re.IGNORECASE,
)


def prose_of_python(path):
    """Yield (line, text) of every name, comment, docstring and message in a Python file."""
    data = str(path.relative_to(ROOT)).startswith(DATA)
    for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline):
        if token.type == tokenize.NAME and token.string not in KEYS:
            yield token.start[0], re.sub(r"_+|(?<=[a-z])(?=[A-Z])", " ", token.string)
        elif token.type == tokenize.COMMENT:
            yield token.start[0], token.string
        elif token.type == tokenize.STRING:
            # Literals without a space and raw strings are keys, values or patterns.
            docstring = token.string.startswith('"""') and token.start[1] in (0, 4)
            if docstring or (" " in token.string and not data and token.string[0] not in "rR"):
                yield token.start[0], token.string


def prose_of_text(path):
    """Yield (line, text) of a document without its code."""
    text = re.sub(
        r"^```.*?^```",
        lambda m: "\n" * m[0].count("\n"),
        path.read_text("utf-8"),
        flags=re.M | re.S,
    )
    for number, line in enumerate(text.splitlines(), 1):
        yield number, re.sub(r"`[^`]*`|\]\([^)]*\)|<!--.*?-->", "", line)


def without_keys(text):
    """Remove quoted data keys, e.g., `"grey"` or `grey=`."""
    keys = "|".join(KEYS)
    return re.sub(
        rf"""[`'"|\[.]({keys})\b|\b({keys})\s?[`'"=\]:]|_({keys})\b|\b({keys})_""", "", text
    )


def files(*patterns):
    listed = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def offenses(paths, prose):
    return [
        f"{path.relative_to(ROOT)}:{line}: {found[0]!r}, use {BANNED.get(found[0].lower())!r}"
        for path in paths
        for line, text in prose(path)
        for found in PATTERN.finditer(without_keys(text))
    ]


@pytest.mark.parametrize(
    "package", ["fdrd", "benchmark", "baselines", "dcar", "tests", "tools", "speed"]
)
def test_code_uses_the_words_of_the_glossary(package):
    paths = [path for path in files(f"{package}/**.py") if path.name != "test_glossary.py"]
    assert paths
    assert offenses(paths, prose_of_python) == []


def test_documents_use_the_words_of_the_glossary():
    paths = [path for path in files("*.md", "schemas/*.json") if path.name != "CONTRIBUTING.md"]
    assert paths
    assert offenses(paths, prose_of_text) == []


def test_the_glossary_bans_the_old_words():
    assert {"picture", "blind reader", "foretold", "licence"} <= set(BANNED)
    assert PATTERN.search("A Picture of it.")
