"""The wheel holds all that runs need: schemas, the card's template, the command line, typing marks."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_wheel_holds_everything_and_nothing_else(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, ROOT]
    subprocess.run(command, check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("fdrd-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    needed = {
        "fdrd/DATASET_CARD.md",
        "fdrd/py.typed",
        "benchmark/py.typed",
        "benchmark/models/embedded/model.safetensors",
        "benchmark/models/embedded/tokenizer.json",
        *(f"fdrd/schemas/{name}.schema.json" for name in ("record", "manifest")),
        *(
            path.relative_to(ROOT).as_posix()
            for package in ("fdrd", "benchmark", "baselines", "dcar")
            for path in (ROOT / package).rglob("*.py")
        ),
    }
    assert needed <= names
    top_level = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert top_level == {"baselines", "benchmark", "dcar", "fdrd"}
