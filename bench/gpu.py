"""Everything that a GPU decides, measured in one run of at most 10 minutes: utilisation, memory, stalls.

Prints a Markdown table; a part that fails is a row of it. Exits 0 where the targets are met, 1 short of one,
2 without a GPU. --device cpu --tiny runs every part on small sizes, so that the code is known to run, and
judges nothing. On a machine that has torch and little else, --wheels takes the rest from a folder;
--list-wheels says which these are.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from gpu_parts.wheels import install_wheels, list_wheels  # noqa: E402
from machine import describe_processor  # noqa: E402

from braing3n.core.runtime import count_cpus, set_threads  # noqa: E402

N_TARGETS = 3  # utilisation of the MAE and the DiT, and encoding
TINY = {
    "pretrain": {"patch_size": 4, "depth": 2, "width": 48, "n_heads": 4, "decoder_depth": 1}
    | {"decoder_width": 48, "decoder_n_heads": 4},
    "tokenizer": {"d": 8, "widths": [16, 8], "n_blocks": 1},
    "sweep": {"akl": {"channels": [8, 16]}},
    "diffusion": {"depth": 2, "width": 48, "n_heads": 4},
}


def run_parts(bench, seconds: float, out: Path | None) -> int:
    """Run every part within its share of the time; the number of rows that say `failed`."""
    from gpu_parts import decoders, encoder
    from gpu_parts.timing import describe_error, free

    parts = {  # each with its share of the time; what one leaves, the next may use
        "device": (encoder.measure_device, 0.04),
        "MAE training": (encoder.measure_mae, 0.34),
        "encode": (encoder.measure_encoding, 0.07),
        "tokenizer training": (decoders.measure_tokenizer, 0.25),
        "AKL training": (decoders.measure_akl, 0.06),
        "decode": (decoders.measure_decoding, 0.03),
        "DiT training": (decoders.measure_dit, 0.13),
        "sampling": (decoders.measure_samples, 0.04),
        "attention": (encoder.measure_attention, 0.04),
    }
    start, spent = time.monotonic(), 0.0
    print(
        "| part | what | value | unit | target | note |\n| --- | --- | ---: | --- | --- | --- |", flush=True
    )
    for name, (measure, share) in parts.items():
        spent += share
        bench.until = start + spent * seconds
        try:
            if time.monotonic() > start + seconds:
                raise TimeoutError("no time was left for it")
            free(bench)
            measure(bench)
        except Exception as error:  # one part's fault must not cost the others
            bench.note(name, "failed", None, "", describe_error(error))
        if out:
            out.write_text(json.dumps([asdict(row) for row in bench.rows], indent=1) + "\n")
    return sum("failed" in row.what for row in bench.rows)


def main() -> int:
    """Measure, print, compare with the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small sizes: to see that the code runs")
    parser.add_argument("--seconds", type=float, default=480, help="time for all parts, about")
    parser.add_argument("--threads", type=int, default=count_cpus(), help="CPU threads")
    parser.add_argument("--out", type=Path, help="rows as JSON, written after every part")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels to install for this run")
    parser.add_argument("--list-wheels", action="store_true", help="print which wheels are needed, and end")
    options = parser.parse_args()
    if options.list_wheels:
        print("\n".join(list_wheels()))
        return 0
    if options.wheels:
        install_wheels(options.wheels)
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        print("No GPU is at hand, so nothing was measured; --device cpu --tiny shows that the code runs.")
        return 2
    from gpu_parts.timing import Bench

    from braing3n import training
    from braing3n.config import Config

    print(describe_processor(), flush=True)
    set_threads(options.threads)
    device = torch.device(options.device)
    training.prepare_device(device)
    config = Config.model_validate(TINY if options.tiny else {})
    shape, batches = ((16, 16, 16), (1, 2)) if options.tiny else ((160, 192, 160), (16, 32, 64, 128, 256))
    with tempfile.TemporaryDirectory() as folder:
        n_threads, n_calls = training.count_workers(options.threads), 2 if options.tiny else 20
        bench = Bench(device, config, shape, batches, n_threads, Path(folder), n_calls=n_calls)
        n_failed = run_parts(bench, options.seconds, options.out)
    if options.tiny or not bench.is_gpu:
        return 1 if n_failed else 0
    n_met = sum(row.is_met is True for row in bench.rows)
    print(f"{n_met} of {N_TARGETS} targets met; {n_failed} measurements failed.")
    return 0 if n_met == N_TARGETS else 1


if __name__ == "__main__":
    sys.exit(main())
