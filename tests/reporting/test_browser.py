from __future__ import annotations

from pathlib import Path

import pytest

from fieldmark.reporting.label_pages import labels_page
from fieldmark.reporting.pages import inspect_page, run_page, write_page

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


@pytest.fixture(scope="module")
def pages(samples, label_samples, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    photos = samples.drawn_photos()
    write_page(folder / "run.html", run_page(samples.sample_run(photos)))
    write_page(folder / "inspect.html", inspect_page(samples.sample_inspection(photos)))
    write_page(folder / "labels.html", labels_page(label_samples.sample_labels()))
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
@pytest.mark.parametrize("name", ["run", "inspect", "labels"])
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


SHOWN = """() => [...document.querySelectorAll('[data-find] tbody tr')].filter(row => !row.hidden)
                    .map(row => row.cells[0].textContent)"""


def test_labels_can_be_searched_and_sorted(pages, browser):
    page = browser.new_page()
    page.goto(pages["labels"].as_uri())
    assert len(page.evaluate(SHOWN)) == 486
    page.get_by_label("Find a label").fill("EDOUARD tag::")
    assert page.evaluate(SHOWN) == ["tag::Édouard never seen"]
    assert page.locator("[data-find] output").inner_text() == "1 of 486"
    page.get_by_label("Find a label").fill("")
    page.locator("[data-find]").get_by_role("button", name="Photos").click()
    assert page.evaluate(SHOWN)[-1] == "tag::Édouard never seen"
    page.locator("[data-find]").get_by_role("button", name="Photos").click()
    assert page.evaluate(SHOWN)[0] == "tag::Édouard never seen"
    assert page.locator("[data-find] th[aria-sort=ascending]").inner_text().startswith("Photos")
    page.close()


def test_without_scripts_the_list_of_labels_is_complete(pages, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages["labels"].as_uri())
    assert page.locator("[data-find] tbody tr").count() == 486
    assert not page.get_by_label("Find a label").is_visible()
    context.close()
