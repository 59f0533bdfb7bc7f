"""A headless Chromium for the tests of pages (Debian: apt-get install chromium chromium-driver)."""

import shutil
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait


def open_browser() -> webdriver.Chrome:
    """Return a browser without any page; the caller quits it."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    assert program and driver, "these tests need Chromium: apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


def resize(browser: webdriver.Chrome, width: int, height: int) -> None:
    """Let the page have so many pixels."""
    sizes = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)


def visit(browser: webdriver.Chrome, page: Path, step: int = 1) -> None:
    """Open a page made by `anfinsen.byhand.write_page` at a step, and wait until it has computed everything."""
    browser.get("about:blank")
    browser.get(f"{page.resolve().as_uri()}#{step}")
    WebDriverWait(browser, 120, 0.05).until(lambda _: browser.execute_script("return document.body.dataset.ready"))
