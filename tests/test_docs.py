"""Every example of the documentation runs, in order, as a reader would run it: in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import Hub

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(text):
    """The commands of `console` blocks and the whole of `python` blocks; `sh` blocks are not run."""
    for language, body in BLOCK.findall(text):
        if language == "python":
            yield [sys.executable, "-c", body]
        else:
            yield from (
                ["bash", "-c", line[2:]] for line in body.splitlines() if line.startswith("$ ")
            )


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_examples_of_a_document_run(document, tmp_path):
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    script = bin_folder / "fdrd"
    script.write_text(
        f"#!{sys.executable}\nfrom fdrd.__main__ import main\nif __name__ == '__main__': main()\n"
    )
    script.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "HF_HOME": str(tmp_path / "cache"),
        "FDRD_CACHE": str(tmp_path / "cache" / "fdrd"),
        "HF_HUB_OFFLINE": "1",
    }
    folder = tmp_path / "empty"
    folder.mkdir()
    with Hub() as hub:
        if document.name == "hub.md":
            environment |= hub.environment()
        for command in commands(document.read_text(encoding="utf-8")):
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"


def test_every_link_inside_the_documents_leads_somewhere():
    for document in [*DOCUMENTS, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(
            r"\]\((?!https?:)([^)#]+)\)", document.read_text(encoding="utf-8")
        ):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
