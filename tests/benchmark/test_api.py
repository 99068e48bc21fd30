"""The Python API: imports are lazy, built-in methods are known by name, plugins are modules or files."""

import pytest

import benchmark
from fdrd.errors import FdrdError
from tests.command import run_python

READ = """
import sys, benchmark
from typer.testing import CliRunner
from fdrd.commands import app
folder, page = sys.argv[1:]
benchmark.compare(folder)
benchmark.report(folder, html=page)
assert "dcar" in benchmark.method_names()
for command in ("report", "compare"):
    assert CliRunner().invoke(app, [command, folder]).exit_code == 0
print([name for name in ("torch", "transformers", "datasets") if name in sys.modules])
"""


def test_reading_results_imports_no_model_code(bench, tmp_path):
    done = run_python("-c", READ, bench.folder, tmp_path / "page.html")
    assert done.stdout.splitlines()[-1] == "[]"


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
