"""Run the command line: `python -m braing3n`."""

import sys

from braing3n.core.process import use_safe_path

use_safe_path()  # before anything else is imported

from braing3n.cli import main  # noqa: E402

sys.exit(main())
