"""Run a fuzz target: `readers` (annotations) or `parsers` (results, checkpoints, manifests, cards and so on).

python tests/fuzz readers -max_total_time=3600     # with atheris (pip install atheris)
python tests/fuzz parsers found/ -runs=100000      # the folder keeps new inputs
python tests/fuzz parsers crash-0123abcd           # repeat an input that atheris saved
python tests/fuzz readers --only 9 -max_total_time=3600     # one file: its place in FILES, or in TARGETS
python tests/fuzz parsers --plain 5000 [SEED]      # without atheris: random mutations of the seeds
"""

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from fuzz.driver import main

if __name__ == "__main__":
    target = importlib.import_module(f"fuzz.fuzz_{sys.argv.pop(1)}")
    main(target.check, target.SEEDS)
