"""What a FOMO26 container runs: `python /app/predict.py --input scan.nii.gz --output vector.npy`."""

import sys
from pathlib import Path

from braing3n.cli import main

APP = Path(__file__).parent

# Preprocessing starts a process of its own, which imports this file again.
if __name__ == "__main__":
    sys.argv[1:1] = ["fomo26", "--model", str(APP / "model"), "--resources", str(APP / "resources")]
    sys.exit(main())
