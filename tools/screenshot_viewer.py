"""Take the screenshots of docs/viewer.md, and a short recording, from a real run of `fdrd view`; or of everything.

    fdrd sample raw/ --categories 24 --pairs 720
    fdrd build --source raw/ --out data/birds --backbone embedded
    fdrd bench --data data/birds --method zero_shot --method coop --method dcar -T epochs=3
    python tools/screenshot_viewer.py data/birds --results runs/ --out docs/images
    python tools/screenshot_viewer.py data/birds --results runs/ --source raw/ --shots build/shots

The second command writes every page and the output of the commands instead, at two widths in both themes. Needs
Playwright for Python and Chromium.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, MONOKAI
from rich.text import Text

ARGUMENTS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync""".split()


def main() -> None:
    """Start the viewer, visit its pages, and write images of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--source", type=Path)
    parser.add_argument("--shots", type=Path)
    options = parser.parse_args()
    options_of_view = "--review screenshots --port 0 --no-browser --results".split()
    command = [sys.executable, "-m", "fdrd", "view", str(options.dataset), *options_of_view]
    command.append(str(options.results))
    if options.source:
        command += ["--source", str(options.source)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = next(line for line in server.stdout if "http://" in line)
        address = line[line.index("http://") :].strip()
        with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
            browser = playwright.chromium.launch_persistent_context(
                profile,
                executable_path=shutil.which("chromium"),
                headless=True,
                args=ARGUMENTS,
                viewport={"width": 1280, "height": 800},
            )
            if options.shots:
                _shots(browser.new_page(), address, options.shots)
                _terminal_shots(browser.new_page(), options)
            else:
                _visit(browser.new_page(), address, options.out)
            browser.close()
    finally:
        server.terminate()
        server.wait()


PAGES = {
    "browse": "/",
    "selected": "/?split=test",
    "meaning": "/?q=a+blue+fish&similar=backbone",
    "record": "/record",
    "map": "/map",
    "table": "/table",
    "rejected": "/rejected",
    "missing_captions": "/rejected?reason=caption_missing",
    "duplicates": "/duplicates",
    "results": "/results",
    "fooling": "/results/negatives",
    "queries": "/results/queries?show=all",
    "query": "/results/query?n=1",
    "nothing": "/?q=zeppelin",
    "no_record": "/record?id=none",
    "changes": "/changes",
    "review": "/review",
    "mislabeled": "/review?queue=mislabeled",
    "negatives": "/review?queue=negatives",
}


def _shots(page: Page, address: str, out: Path) -> None:
    """Write each page at two widths in both themes."""
    out.mkdir(parents=True, exist_ok=True)
    base = address.partition("/?")[0]
    page.goto(address)
    record = page.locator(".card a").first.get_attribute("href") or ""
    for name, path in PAGES.items():
        for width in (390, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme, reduced_motion="reduce")
                page.goto(base + (record if name == "record" else path))
                page.locator(".waiting").wait_for(state="detached", timeout=120_000)
                if name == "selected":
                    for position in (0, 2, 3):
                        page.locator("input[name=row]").nth(position).check()
                _settle(page)
                page.screenshot(path=out / f"{name}_{width}_{theme}.png")


def _terminal_shots(page: Page, options: argparse.Namespace) -> None:
    """Write what each command prints at 80 and 120 columns, on light and dark."""
    data, runs = str(options.dataset), str(options.results)
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "methods": ["methods"],
            "method": ["methods", "coop"],
            "bench_help": ["bench", "--help"],
            "build_help": ["build", "--help"],
            "bench": ["bench", data, "--method", "zero_shot", "--results", f"{folder}/runs"],
            "report": ["report", runs],
            "compare": ["compare", runs],
            "stats": ["stats", data],
            "audit": ["audit", data],
            "validate": ["validate", data],
            "search": ["search", data, "a blue fish"],
            "build": ["build", str(options.source), "--out", f"{folder}/out", "--seed"],
        }
        for name, command in commands.items():
            for columns in (80, 120):
                numbered = [*command, str(columns)] if name == "build" else command
                text = Text.from_ansi(_output([sys.executable, "-m", "fdrd", *numbered], columns))
                for theme, colors in (("light", DEFAULT_TERMINAL_THEME), ("dark", MONOKAI)):
                    console = Console(record=True, width=columns, file=io.StringIO())
                    console.print(text, soft_wrap=True)
                    html = console.export_html(theme=colors, inline_styles=True)
                    page.set_content(
                        html.replace('<pre style="', '<pre style="display:inline-block;')
                    )
                    shot = options.shots / f"terminal_{name}_{columns}_{theme}.png"
                    page.locator("pre").screenshot(path=shot)


def _output(command: list[str], columns: int) -> str:
    """Return what a command writes to a terminal of this width."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    data = b""
    with subprocess.Popen(
        command, stdout=end, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        os.close(end)
        while True:
            try:
                data += os.read(terminal, 65536)
            except OSError:  # the command has ended
                break
        process.wait()
    os.close(terminal)
    return data.decode().replace("\r\n", "\n")


def _visit(page: Page, address: str, out: Path) -> None:
    """Browse, open a record, compare methods on a query, and look at the review."""
    base, frames = address.partition("/?")[0], []
    page.goto(address)
    frames.append(_frame(page))
    page.goto(f"{base}/?q=blue")
    _frame(page, out / "viewer_browse.png")
    page.locator(".facet a", has_text="fish").first.click()
    page.wait_for_url("**/*meta=fish*")
    frames.append(_frame(page))
    page.locator(".card a").first.click()
    page.wait_for_url("**/record?*")
    frames.append(_frame(page))
    page.goto(f"{base}/results")
    frames.append(_frame(page))
    page.goto(f"{base}/results/negatives")
    frames.append(_frame(page))
    page.goto(f"{base}/results/queries")
    page.locator(".queries a").nth(1).click()
    page.wait_for_url("**/results/query?*")
    methods = page.locator(".methods > section").count()
    while (done := page.locator(".hits").count()) < methods:
        page.get_by_role("button", name="Compute the top ten").first.click()
        expect(page.locator(".hits")).to_have_count(done + 1, timeout=120_000)
    frames.append(_frame(page, out / "viewer_query.png"))
    page.emulate_media(color_scheme="dark")
    page.goto(f"{base}/review?queue=stratified")
    frames.append(_frame(page, out / "viewer_review.png"))
    small = [frame.resize((720, 450), Image.Resampling.LANCZOS) for frame in frames]
    first, *rest = (frame.quantize(128, dither=Image.Dither.NONE) for frame in small)
    first.save(
        out / "viewer_tour.gif",
        save_all=True,
        append_images=rest,
        duration=1800,
        loop=0,
        optimize=True,
    )


def _frame(page: Page, path: Path | None = None) -> Image.Image:
    """Take a screenshot; save it with a palette of 256 colors, a third of the size, where a path is given."""
    _settle(page)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    if path:
        image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    return image


def _settle(page: Page) -> None:
    """Wait until every image on the screen is there; those below are loaded when they are scrolled to."""
    page.wait_for_load_state("networkidle")
    page.wait_for_function(
        """[...document.images].every(each => {
            const box = each.getBoundingClientRect();
            return box.top >= innerHeight || box.bottom <= 0 || (each.complete && each.naturalWidth > 0);
        })"""
    )


if __name__ == "__main__":
    main()
