"""The Python API: imports are lazy, built-in methods are known by name, plugins are modules or files."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import benchmark
from fdrd.errors import FdrdError

HEAVY = ("torch", "transformers", "datasets")


def modules_after(code, folder):
    """Return the heavy modules that are loaded after some code has run."""
    check = f"\nimport sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    root = str(Path(__file__).parents[2])
    code = f"import sys; sys.path.insert(0, {root!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code + check], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import benchmark; benchmark.compare('.'); assert 'dcar' in benchmark.method_names()\n"
        "benchmark.report('.'); benchmark.report('.', html='{out}')",
        "from typer.testing import CliRunner; from fdrd.commands import app\n"
        "for command in ('report', 'compare'):\n"
        "    assert CliRunner().invoke(app, [command, '.']).exit_code == 0",
    ],
    ids=["python", "commands"],
)
def test_reading_results_imports_no_model_code(bench, code, tmp_path):
    assert modules_after(code.replace("{out}", str(tmp_path / "page.html")), bench.folder) == set()


@pytest.mark.parametrize("code", ["benchmark.get_method('coop')", "benchmark.method_names()[0]"])
def test_built_in_methods_are_known_by_name(tmp_path, code):
    modules_after(f"import benchmark; {code}; assert 'dcar' in benchmark.method_names()", tmp_path)


def test_every_exported_name_exists_and_hides_no_module():
    for name in benchmark.__all__:
        assert not inspect.ismodule(getattr(benchmark, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = benchmark.nothing


PLUGIN = '''
import benchmark

@benchmark.method("mine")
def mine(backbone):
    """Zero-shot under another name."""
    return benchmark.get_method("zero_shot")(backbone)
'''


def test_a_plugin_may_be_a_file(run_tiny, zero_shot, tmp_path, registry):
    (tmp_path / "mine.py").write_text(PLUGIN)
    benchmark.load_plugin(str(tmp_path / "mine.py"))
    assert run_tiny("mine").ranks == zero_shot.ranks
    (tmp_path / "taken.py").write_text(PLUGIN.replace('"mine"', '"coop"'))
    with pytest.raises(FdrdError, match="two methods are called 'coop'"):
        benchmark.load_plugin(str(tmp_path / "taken.py"))
    with pytest.raises(FdrdError, match=r"`plugin` gone\.py: no such file"):
        benchmark.load_plugin("gone.py")
