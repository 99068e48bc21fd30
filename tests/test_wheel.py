"""What is released: the sdist builds the wheel, the wheel holds all that runs need, the lock is current."""

import os
import re
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.command import run_python

ROOT = Path(__file__).parent.parent
PACKAGES = ("fdrd", "benchmark", "baselines", "dcar")


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Build the sdist, and the wheel from the sdist, so that nothing comes from the checkout alone."""
    folder = tmp_path_factory.mktemp("dist")
    run_python("-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.mark.slow
def test_the_wheel_holds_everything_and_nothing_else(released):
    (wheel,) = released.glob("fdrd-*.whl")
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
            for package in PACKAGES
            for path in (ROOT / package).rglob("*.py")
        ),
    }
    assert needed <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == set(PACKAGES)
    assert wheel.stat().st_size < 12 * 2**20


@pytest.mark.slow
def test_the_sdist_holds_what_a_packager_needs(released):
    (sdist,) = released.glob("fdrd-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "tests/conftest.py"} <= names
    assert not [name for name in names if name.startswith((".venv", "data/", "runs/", "build/"))]
    assert sdist.stat().st_size < 14 * 2**20


@pytest.mark.slow
def test_the_long_description_has_no_relative_links(released, tmp_path):
    # Of the checkout, as at a release: a wheel of an sdist takes the description that the sdist has.
    release = {**os.environ, "GITHUB_REPOSITORY": "org/fdrd", "GITHUB_REF_NAME": "v1.2.3"}
    run_python("-m", "build", "--outdir", tmp_path / "tag", ROOT, cwd=tmp_path, env=release)
    at_tag, elsewhere = (
        zipfile.ZipFile(wheel).read(f"{'-'.join(wheel.name.split('-')[:2])}.dist-info/METADATA")
        for folder in (tmp_path / "tag", released)
        for wheel in folder.glob("*.whl")
    )
    assert "(https://github.com/org/fdrd/blob/v1.2.3/docs/tutorial.md)" in at_tag.decode()
    assert "(https://github.com/org/fdrd/raw/v1.2.3/docs/images/viewer_tour.gif)" in at_tag.decode()
    for text in (at_tag, elsewhere):
        assert "# fdrd" in text.decode()
        assert not re.findall(r"\]\((?!https://|#)", text.decode())


@pytest.mark.slow
def test_the_package_index_would_accept_the_release(released):
    run_python("-m", "twine", "check", "--strict", *released.iterdir())


def test_the_lock_names_no_mirror_of_one_machine():
    """That it has the dependencies of the project, `uv lock --check` says in CI."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    registries = {package["source"].get("registry") for package in lock["package"]} - {None}
    assert registries == {"https://pypi.org/simple"}
