"""Photograph a report for the README: python scripts/screenshot_report.py REPORT.html docs/images/demo.png

Needs Chromium (Debian: apt-get install chromium). The picture in the README is the demo's report after `make demo`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1900)
    args = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("Chromium is not installed: apt-get install chromium.")
    command = [
        browser,
        "--headless=new",
        "--no-sandbox",
        "--enable-unsafe-swiftshader",
        "--use-gl=angle",
        "--use-angle=swiftshader",
        "--hide-scrollbars",
        f"--window-size={args.width},{args.height}",
        "--virtual-time-budget=60000",
        "--timeout=120000",
        f"--screenshot={args.picture.resolve()}",
        args.report.resolve().as_uri(),
    ]
    subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
