"""scikit-learn's own checks on its oldest supported and current release: python scripts/check_scikit_learn.py

Installs the oldest release (only it, not what it needs) into a temporary folder that comes first on a second Python's
path, runs `check_estimator` on every estimator with its default parameters under both releases, and prints how many
checks passed. Exits with 1 if one failed. Needs the extra `autoencoders` and a package index; takes minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator

OLDEST = "1.6.0"  # of scikit-learn, the first with `__sklearn_tags__` and `validate_data`


def estimators() -> list:
    from anfinsen.autoencoders import (
        Autoencoder,
        AutoencoderDetector,
        ConvolutionalAutoencoder,
        DenoisingAutoencoder,
        SparseAutoencoder,
        VariationalAutoencoder,
    )

    return [
        Autoencoder(),
        DenoisingAutoencoder(),
        SparseAutoencoder(),
        VariationalAutoencoder(),
        ConvolutionalAutoencoder(),
        AutoencoderDetector(),
    ]


def check_here() -> None:
    """Check the estimators under the release that this Python imports; print one line of JSON for each."""
    import numpy
    import scipy
    import sklearn
    from sklearn.utils.estimator_checks import check_estimator

    versions = ", ".join(f"{module.__name__} {module.__version__}" for module in (sklearn, numpy, scipy))
    print(json.dumps({"versions": versions}), flush=True)
    for estimator in estimators():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            checks = check_estimator(estimator, on_skip=None, on_fail=None)
        result = {
            "name": type(estimator).__name__,
            "counts": Counter(check["status"] for check in checks),
            "others": {
                check["check_name"]: f"{check['status']}: {check['exception']}"
                for check in checks
                if check["status"] != "passed"
            },
        }
        print(json.dumps(result), flush=True)


def check_elsewhere(release: str | None) -> Iterator[dict]:
    """Check them in another Python, with ``release`` of scikit-learn in front of the one installed."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "SCIPY_ARRAY_API": "1"}  # without it scikit-learn leaves a check out
        if release is not None:
            install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
            # Version pins of this environment do not hold for a folder of its own.
            unpinned = environment | {"PIP_CONSTRAINT": os.devnull}
            subprocess.run([*install, f"scikit-learn=={release}"], check=True, env=unpinned)
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH", "")]))
        command = [sys.executable, __file__, "--here"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            yield from map(json.loads, process.stdout)
        if process.returncode:
            raise SystemExit(f"Checks under scikit-learn {release or '(installed)'} broke off.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oldest", default=OLDEST, help="release to install besides")
    parser.add_argument("--here", action="store_true", help="check under the installed release only; print JSON")
    args = parser.parse_args()
    if args.here:
        check_here()
        return
    failed = False
    for release in (args.oldest, None):
        for result in check_elsewhere(release):
            if "versions" in result:
                print(result["versions"], flush=True)
                continue
            counts = ", ".join(f"{count} {status}" for status, count in result["counts"].items())
            print(f"  {result['name']}: {counts}", flush=True)
            for check, reason in result["others"].items():
                print(f"    {check}: {reason}", flush=True)
            failed |= result["counts"].get("failed", 0) > 0
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
