"""Photograph pages made by `anfinsen byhand --page` for the documentation.

python scripts/screenshot_byhand.py attention.html exercise.html docs/images

Needs Chromium and its driver (Debian: apt-get install chromium chromium-driver) and selenium (pip install selenium).
The pictures in docs/byhand.md are of pairformer.0.triangle_attention_starting on examples/2aee_A.yaml with tokens 1-3
and head 0, and of the same with --exercise middle.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

# The step whose title has the words.
STEP_OF = """const cards = [...document.querySelectorAll(".step")];
    return cards.findLast((card) => card.innerText.includes(arguments[0])).id;"""
# The first cell that a step gives.
FIRST = """const cells = [...document.getElementById(arguments[0]).querySelectorAll(".gives td")];
    return cells.find((td) => td.cell !== undefined);"""
# Draws the first blank tile, and returns its step.
BLANK = """const root = [...document.querySelectorAll(".gives .tile")].find((root) => root.view.tile.blank);
    root.view.draw();
    return root.closest("section");"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("exercise", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--words", default="softmax: exponential / sum", help="of the title of the step that is shown")
    args = parser.parse_args()
    browser = open_browser()
    try:
        picture(browser, args.page, args.words, (1280, 1180), args.folder / "byhand-page.png")
        picture(browser, args.page, args.words, (390, 844), args.folder / "byhand-page-narrow.png")
        exercise(browser, args.exercise, args.folder / "byhand-exercise.png")
    finally:
        browser.quit()


def open_browser() -> webdriver.Chrome:
    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if program is None or driver is None:
        sys.exit("Chromium or its driver is not installed: apt-get install chromium chromium-driver.")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=Service(driver))


def visit(browser: webdriver.Chrome, page: Path, size: tuple[int, int]) -> None:
    width, height = size
    sizes = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)
    browser.get("about:blank")
    browser.get(page.resolve().as_uri())
    WebDriverWait(browser, 120).until(lambda _: browser.execute_script("return document.body.dataset.ready"))
    browser.find_element(By.ID, "all").click()


def picture(browser: webdriver.Chrome, page: Path, words: str, size: tuple[int, int], target: Path) -> None:
    visit(browser, page, size)
    step = browser.execute_script(STEP_OF, words)
    number = step.removeprefix("step-")
    browser.execute_script("location.hash = arguments[0]", number)
    WebDriverWait(browser, 60).until(lambda _: browser.find_element(By.ID, "where").text.startswith(f"Step {number} "))
    browser.execute_script("arguments[0].click()", browser.execute_script(FIRST, step))
    browser.execute_script("document.getElementById(arguments[0]).scrollIntoView()", step)
    browser.save_screenshot(str(target))


def exercise(browser: webdriver.Chrome, page: Path, target: Path) -> None:
    """Answer the first blank tile: one cell rightly, one wrongly."""
    visit(browser, page, (1280, 960))
    card = browser.execute_script(BLANK)
    number = card.get_attribute("id").removeprefix("step-")
    browser.execute_script("location.hash = arguments[0]", number)
    boxes = card.find_elements(By.CSS_SELECTOR, ".gives .tile input")
    value = browser.execute_script("return arguments[0].closest('.tile').view.numbers()[0]", boxes[0])
    boxes[0].send_keys(f"{value:.4f}")
    boxes[1].send_keys("1.5")
    card.find_element(By.CSS_SELECTOR, ".tools button").click()
    browser.execute_script("arguments[0].scrollIntoView()", card)
    browser.save_screenshot(str(target))


if __name__ == "__main__":
    main()
