"""Keep the working folder's Python files from being imported in place of libraries."""

import os
import sys


def use_safe_path() -> None:
    """Take the working folder off the import path, here and in every process started from here.

    `python -m` puts it first, so that a `pandas.py` beside the scans would run. The folder of this package
    stays reachable, last, for a checkout that is not installed. Only modules that Python itself has loaded
    already are imported here.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    if sys.flags.safe_path:
        return
    package_root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    working = {"", ".", os.getcwd()}
    sys.path[:] = [path for path in sys.path if path not in working]
    if package_root not in sys.path:
        sys.path.append(package_root)
