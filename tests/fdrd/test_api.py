"""The Python API: every public name exists, is documented, and is imported only when it is used."""

import ast
import importlib
import inspect
from dataclasses import fields, replace

import pytest

import fdrd
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import BuildSettings
from tests.command import run_python


@pytest.mark.parametrize("package", ["fdrd", "benchmark", "dcar"])
def test_type_checkers_see_the_names_that_are_imported_on_first_use(package):
    module = importlib.import_module(package)
    imported = {
        alias.name
        for block in ast.parse(inspect.getsource(module)).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == set(module.__all__) <= set(dir(module))
    values = [getattr(module, name) for name in imported]
    assert all(map(inspect.getdoc, filter(inspect.isroutine, values)))
    assert all(map(inspect.getdoc, filter(inspect.isclass, values)))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fdrd.nothing  # noqa: B018


HEAVY = {"torch", "transformers", "datasets", "pyarrow", "numpy"}
HELP = "from fdrd.commands import app\ntry: app(['--help'])\nexcept SystemExit: pass"
BUILD = "import fdrd; fdrd.build('raw', 'out', workers=1)"


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import fdrd", {*HEAVY, "PIL", "rich"}),
        ("import benchmark", {*HEAVY, "PIL", "rich"}),
        (HELP, HEAVY),
        (BUILD, {"datasets", "pandas", "torch", "typeguard"}),
    ],
)
def test_what_needs_no_large_library_imports_none(birds, tmp_path, code, heavy):
    done = run_python("-c", f"{code}\nimport sys; print({heavy} & {{*sys.modules}})", cwd=tmp_path)
    assert done.stdout.endswith("set()\n")


@pytest.fixture
def built(birds, tmp_path):
    with (tmp_path / "raw/metadata.jsonl").open("a") as file:
        file.write('{"file_name": "gone.png", "caption": "A wren that is not there."}\n')
    return fdrd.build(birds, tmp_path / "out", seed=1, name="finches", workers=1)


def test_a_split_is_a_table_of_the_package_datasets(built, tmp_path):
    import datasets

    for ds in (built, fdrd.load(tmp_path / "out"), fdrd.load("finches")):
        assert isinstance(ds, fdrd.Dataset)
        assert ds.splits == ["train", "validation", "test"]
        assert ds.path == tmp_path / "out"
        assert {split: len(ds[split]) for split in ds} == ds.counts
        assert isinstance(ds["test"], datasets.Dataset)
        assert ds["test"][0]["image"].size == (24, 16)
        assert len(ds["test"].to_pandas()) == ds.counts["test"]
        assert [each.reason for each in ds.rejected] == ["image_missing"]
    assert fdrd.load(built, "test")["id"][:] == built["test"]["id"][:]
    with pytest.raises(FdrdError, match="unknown split 'dev'; choose from train"):
        built["dev"]
    with pytest.raises(FdrdError, match="give `split`, too"):
        fdrd.load(built, domain="raw")


def test_the_object_that_build_returns_is_taken_by_functions_and_shown_in_notebooks(
    built, tmp_path
):
    assert fdrd.validate(built) == []
    assert sum(each.pairs for each in fdrd.stats(built)) == sum(built.counts.values())
    assert fdrd.audit(built, text_only=False)
    assert fdrd.export(built, tmp_path / "exported")
    assert repr(built).endswith("; 1 rejected)")
    assert f"{built.counts['test']} test pairs" in repr(built)
    assert len(repr(built.manifest)) < 100
    assert "<td>test</td>" in built._repr_html_()
    assert "&lt;b&gt;" in replace(built, name="<b>")._repr_html_()


def test_options_of_a_build_are_keywords(built, birds, tmp_path):
    config = fdrd.BuildConfig(seed=7)
    other = fdrd.build(
        birds, tmp_path / "other", config=config, negatives=1, category="bird", workers=1
    )
    assert (other.manifest.config.seed, other.manifest.config.negatives) == (7, 1)
    assert built.manifest.config.seed == 1
    assert other.manifest.categories == ["bird"]
    known = inspect.get_annotations(BuildSettings)
    assert set(known) == {
        each.name for kind in (fdrd.BuildConfig, fdrd.SourceOptions) for each in fields(kind)
    }
    for wrong, message in (
        ({"sead": 1}, "build has no option 'sead'; did you mean 'seed'"),
        ({"layout": "nested"}, "`layout` 'nested': choose from"),
        ({"name": "A B"}, "`name` 'A B': use lower case"),
    ):
        with pytest.raises(FdrdError, match=message):
            fdrd.build(birds, tmp_path / "wrong", **wrong)


def test_a_damaged_list_of_rejected_records_is_an_error(built):
    (built.path / "rejected.jsonl").write_text('{"file": "a", "key": "b", "reason": "magic"}\n')
    with pytest.raises(FdrdError, match=r"rejected\.jsonl cannot be read"):
        _ = fdrd.load(built.path).rejected
