"""The viewer in a real browser: every page, by mouse and keyboard, in both themes and at two widths."""

import shutil
from pathlib import Path

import pytest

from fdrd.pipeline.builder import build
from fdrd.viewer.security import redirect_file

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync""".split()
AXE = Path(__file__).parents[2] / "data" / "axe.min.js"
NARROW = {"runOnly": ["color-contrast", "scrollable-region-focusable", "target-size"]}
"""Rules of Axe whose answer depends on width or colors."""
PAGES = (
    *("/", "/rejected", "/duplicates", "/map", "/table", "/changes", "/?q=zeppelin"),
    *("/review?queue=mislabeled", "/review?queue=negatives", "/results", "/results/negatives"),
    *("/results/queries?show=all", "/results/query?n=1"),
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright for Python")
    sync_api.expect.set_options(timeout=60_000)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def expect(browser):
    from playwright.sync_api import expect

    return expect


@pytest.fixture
def page(browser, open_site):  # the server is still there when the page closes
    """A page that fails the test on any console error."""
    problems = []
    context = browser.new_context()
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()
    assert problems == []


def test_the_file_that_opens_the_browser_leads_to_the_first_page(page, expect, drawn, open_site):
    site = open_site(drawn / "set")
    with redirect_file(site.address) as file:
        page.goto(file.as_uri())
        expect(page.locator(".bar strong")).to_have_text("90")
    assert "token" not in page.url
    page.goto(f"{site.base}/review")
    expect(page.locator("h1")).to_be_attached()


def test_two_methods_are_compared_on_a_query(page, expect, measured, open_site):
    site = open_site(measured / "set", results=[measured / "runs"])
    page.goto(site.address)
    page.get_by_role("link", name="Results", exact=True).click()
    with page.expect_download() as saved:
        page.locator(".plot a.button").first.click()
    assert Path(saved.value.path()).read_text().startswith("<svg")
    page.get_by_role("link", name="Explore queries").click()
    page.get_by_label("Show").first.select_option("all")
    page.wait_for_url("**/results/queries?*show=all*")
    page.locator(".queries a").first.click()
    page.wait_for_url("**/results/query?*")
    page.get_by_role("button", name="Compute all top tens").click()
    expect(page.locator(".hits")).to_have_count(2)


def test_records_are_reviewed_by_keyboard(page, expect, copied, open_site):
    site = open_site(copied, review="keys", reviewer="ann")
    page.goto(site.address)
    page.get_by_role("link", name="Review", exact=True).click()
    expect(page.locator("[data-review]")).to_be_visible()
    for number, key in enumerate("aad", 1):
        page.keyboard.press(key)
        expect(page.locator(".bar")).to_contain_text(f"{number} decided by you")
    page.keyboard.press("e")
    expect(page.locator("textarea:focus")).to_be_visible()
    page.keyboard.press("Control+A")
    page.keyboard.type("A purple teapot on a wooden table.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("[data-saved=caption]")).to_be_visible()
    expect(page.locator(".caption-large mark", has_text="purple")).to_be_visible()
    page.goto(f"{site.base}/review?queue=negatives")
    count = int(page.locator(".bar strong").inner_text())
    for key in "yyn":
        page.keyboard.press(key)
    expect(page.locator(".bar strong")).to_have_text(str(count - 1))
    actions = [each.action for each in site.context.review.decisions()]
    assert actions[:5] == ["accept", "accept", "drop", "caption", "judge"]


def test_many_records_are_selected_and_decided_at_once(page, expect, copied, open_site):
    site = open_site(copied, review="bulk", reviewer="ann")
    page.goto(site.address)
    boxes = page.locator("input[name=row]")
    expect(page.locator(".act")).to_be_hidden()
    boxes.nth(0).click()
    boxes.nth(17).click(modifiers=["Shift"])
    expect(page.locator("[data-count]")).to_have_text("18 selected")
    page.locator(".card a").nth(17).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    expect(page.locator("[data-count]")).to_have_text("20 selected")
    page.get_by_label("Category").fill("mallard")
    page.get_by_role("button", name="Drop").click()
    expect(page.locator(".done")).to_contain_text("Saved: drop: 20 records")
    page.goto(f"{site.base}/?split=test")
    page.get_by_label("Select this page").check()
    page.get_by_label("Tag", exact=True).fill("look again")
    page.keyboard.press("Enter")
    expect(page.locator(".done")).to_contain_text("Saved: tag look again")


def test_an_area_of_the_map_is_drawn_and_shown(page, expect, drawn, open_site):
    site = open_site(drawn / "set")
    page.goto(site.address)
    page.get_by_role("link", name="Map", exact=True).first.click()
    expect(page.locator("[data-map-status]")).to_have_text("90 points")
    box = page.locator("canvas").bounding_box()
    corners = [(0.01, 0.02), (0.5, 0.02), (0.5, 0.98), (0.01, 0.98)]
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*at[0])
    page.mouse.down()
    for x, y in at[1:]:
        page.mouse.move(x, y, steps=8)
    page.mouse.up()
    expect(page.locator("[data-map-status]")).to_contain_text("are inside")
    count = page.locator("[data-map-status]").inner_text().split()[0]
    assert 0 < int(count) < 90
    page.get_by_role("link", name="Show these").click()
    expect(page.locator(".bar strong")).to_have_text(count)


def test_a_caption_is_written_and_arrow_keys_lead_from_record_to_record(
    page, expect, draw, write, tmp_path, open_site
):
    for number in range(3):
        write(f"train/wren/{number}.png", draw(number))
        if number:
            write(f"train/wren/{number}.txt", f"A wren, {number}.")
    build(tmp_path / "raw", tmp_path / "set", workers=1)
    site = open_site(tmp_path / "set", source=tmp_path / "raw", review="write")
    page.goto(site.address)
    page.get_by_role("link", name="Rejected", exact=True).click()
    page.locator(".write textarea").fill("A green wren on a stone.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".badge.ok")).to_contain_text("caption by")
    page.goto(f"{site.base}/")
    page.locator(".card a").first.click()
    page.get_by_role("link", name="Next").wait_for()
    first = page.url
    page.wait_for_load_state("networkidle")  # a key that comes before the script is lost
    page.keyboard.press("ArrowRight")
    expect(page).not_to_have_url(first)
    page.wait_for_load_state("networkidle")
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(first)


def test_pages_fit_and_have_no_accessibility_problem(page, measured, built_birds, open_site):
    """Each page is loaded once: wide and light, then narrow and dark."""
    options = {"results": [measured / "runs"], "review": "look", "before": built_birds.out}
    site = open_site(measured / "set", **options)
    record = site.context.library.current().records([0])[0]
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.goto(site.address)
    axe, problems = AXE.read_text(encoding="utf-8") + "; undefined", []
    for path in (*PAGES, f"/record?id={record['id']}"):
        page.set_viewport_size({"width": 1440, "height": 800})
        page.emulate_media(color_scheme="light")
        page.goto(site.base + path)
        page.locator(".waiting").wait_for(state="detached")
        page.wait_for_load_state()
        page.evaluate(axe)
        for width, scheme, rules in ((1440, "light", {}), (360, "dark", NARROW)):
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            rules = {**rules, "resultTypes": ["violations"]}
            found = page.evaluate("rules => axe.run(rules).then(found => found.violations)", rules)
            problems += [
                (path, width, each["id"], node["target"], node.get("failureSummary", "")[:200])
                for each in found
                for node in each["nodes"][:1]
            ]
    assert problems == []
