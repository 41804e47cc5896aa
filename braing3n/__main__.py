"""Run the command line: `python -m braing3n`."""

import sys

from braing3n.cli import main

sys.exit(main())
