"""The Python API: every public name exists, is documented, and is imported only when it is used."""

import inspect
import subprocess
import sys

import pytest

import fdrd


def test_every_public_name_exists_and_has_a_docstring():
    assert set(fdrd.__all__) <= set(dir(fdrd))
    for name in fdrd.__all__:
        value = getattr(fdrd, name)
        if name != "__version__":
            assert inspect.getdoc(value), name


def test_type_checkers_see_every_public_name():
    source = inspect.getsource(fdrd)
    checked = source.partition("if TYPE_CHECKING:")[2].partition("_MODULES")[0]
    assert [name for name in fdrd.__all__ if name not in checked] == []


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fdrd.nothing  # noqa: B018


@pytest.mark.parametrize("package", ["fdrd", "benchmark"])
def test_importing_a_package_loads_nothing_heavy(package):
    code = (
        f"import sys, {package}\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pyarrow', 'numpy', 'PIL', 'rich'}\n"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_sample_build_and_load_are_one_call_each(tmp_path):
    assert fdrd.sample(tmp_path / "raw", categories=2, pairs=8, size=32, workers=1)
    built = fdrd.build(tmp_path / "raw", tmp_path / "data", workers=1)
    rows = sum(len(fdrd.load(built.out, split)) for split in ("train", "test"))
    assert rows == built.manifest.records.kept == 8
    assert fdrd.validate(built.out) == []
