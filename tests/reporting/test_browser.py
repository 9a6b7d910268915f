from __future__ import annotations

from pathlib import Path

import pytest

from fieldmark.reporting.duplicate_pages import duplicates_page
from fieldmark.reporting.label_pages import labels_page
from fieldmark.reporting.leak_pages import leaks_page
from fieldmark.reporting.pages import inspect_page, run_page, write_page
from fieldmark.reporting.survival import survival_page

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}"),
]

CONTRAST = """() => {
  const light = c => { const v = c.map(x => (x /= 255) <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
                       return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
                        if (c.length === 3 || c[3] === 1) return c.slice(0, 3); } return [255, 255, 255]; };
  const poor = [];
  for (const e of document.querySelectorAll('body *')) {
    if (!e.offsetParent || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) poor.push(e.className + ': ' + e.textContent.trim().slice(0, 30));
  }
  return poor;
}"""


BROKEN_WORDS = """() => {
  const broken = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode, range = document.createRange();
    if (!node.parentElement.offsetParent || node.parentElement.closest('svg, pre, .visually-hidden')) continue;
    if (node.parentElement.closest('thead')?.getBoundingClientRect().width <= 1) continue;  // hidden on phones
    for (const word of node.textContent.matchAll(/[\\p{L}\\p{N}]+/gu)) {
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const tops = [...range.getClientRects()].filter(box => box.width > 0).map(box => Math.round(box.top));
      if (new Set(tops).size > 1) broken.push(word[0]);
    }
  }
  return broken;
}"""
"""Words that stand on two lines."""

CUT_TABLES = """() => [...document.querySelectorAll('table.stack')].map(one => one.parentElement)
  .filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.getAttribute('aria-label'))"""
"""Tables that become stacked rows on a phone, but are still wider than their place."""

PAGES = ["run", "inspect", "labels", "questions", "duplicates", "leaks", "survival"]


@pytest.fixture(scope="module")
def pages(samples, label_samples, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    photos = samples.drawn_photos()
    write_page(folder / "run.html", run_page(samples.sample_run(photos)))
    write_page(folder / "inspect.html", inspect_page(samples.sample_inspection(photos)))
    write_page(folder / "duplicates.html", duplicates_page(samples.sample_duplicates(photos)))
    write_page(folder / "leaks.html", leaks_page(samples.sample_leaks()))
    write_page(folder / "survival.html", survival_page(samples.sample_survival()))
    write_page(folder / "labels.html", labels_page(label_samples.sample_labels()))
    write_page(folder / "questions.html", labels_page(label_samples.sample_questions()))
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_page_fits_loads_nothing_and_is_readable(pages, browser, name, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    messages: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(pages[name].as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.evaluate("document.querySelectorAll('img').forEach(one => one.loading = 'eager')")
    page.wait_for_function("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(CONTRAST) == []
    assert messages == []
    assert [url for url in requests if not url.startswith(("file://", "data:"))] == []
    page.close()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_no_word_is_broken_and_stacked_tables_are_not_cut(pages, browser, name, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(pages[name].as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate(BROKEN_WORDS) == []
    assert page.evaluate(CUT_TABLES) == []
    page.close()


SHOWN = """() => [...document.querySelectorAll('[data-find] tbody tr')].filter(row => !row.hidden)
                    .map(row => row.cells[0].textContent)"""


def test_labels_can_be_searched_and_sorted(pages, browser):
    page = browser.new_page()
    page.goto(pages["labels"].as_uri())
    assert len(page.evaluate(SHOWN)) == 486
    page.get_by_label("Find a label").fill("EDOUARD tag::")
    assert page.evaluate(SHOWN) == ["tag::Édouard without photos"]
    assert page.locator("[data-find] output").inner_text() == "1 of 486"
    page.get_by_label("Find a label").fill("")
    page.locator("[data-find]").get_by_role("button", name="Photos").click()
    assert page.evaluate(SHOWN)[-1] == "tag::Édouard without photos"
    page.locator("[data-find]").get_by_role("button", name="Photos").click()
    assert page.evaluate(SHOWN)[0] == "tag::Édouard without photos"
    assert page.locator("[data-find] th[aria-sort=ascending]").inner_text().startswith("Photos")
    page.close()


def test_without_scripts_the_list_of_labels_is_complete(pages, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages["labels"].as_uri())
    assert page.locator("[data-find] tbody tr").count() == 486
    assert not page.get_by_label("Find a label").is_visible()
    context.close()
