"""What the training loops share: data order, batches, schedule, checkpoints, weight files, logs.

All that is random in step `n` follows from (seed, n), so a run that was killed and goes on from its
last checkpoint ends with the same bits as one that was not.
"""

from braing3n.training.batches import (
    Volumes,
    count_workers,
    cut_batches,
    find_rows,
    load_batches,
    make_generator,
    plan_batches,
    send,
)
from braing3n.training.logs import draw_examples
from braing3n.training.runs import (
    Run,
    begin,
    count_steps,
    finish,
    note_validation,
    open_accelerator,
    open_run,
    publish,
    save,
    start,
)
from braing3n.training.steps import (
    accumulate,
    add_up,
    arrange_channels,
    autocast,
    build_optimiser,
    check_losses,
    compile_blocks,
    compute_learning_rate,
    find_due,
    has_stalled,
    prepare_device,
    recompute_activations,
    share_batches,
    stop,
    update,
)
from braing3n.training.weights import load_weights, read_record, read_settings, read_weights, write_weights

__all__ = [
    "Run",
    "Volumes",
    "accumulate",
    "add_up",
    "arrange_channels",
    "autocast",
    "begin",
    "build_optimiser",
    "check_losses",
    "compile_blocks",
    "compute_learning_rate",
    "count_steps",
    "count_workers",
    "cut_batches",
    "draw_examples",
    "find_due",
    "find_rows",
    "finish",
    "has_stalled",
    "load_batches",
    "load_weights",
    "make_generator",
    "note_validation",
    "open_accelerator",
    "open_run",
    "plan_batches",
    "prepare_device",
    "publish",
    "read_record",
    "read_settings",
    "read_weights",
    "recompute_activations",
    "save",
    "send",
    "share_batches",
    "start",
    "stop",
    "update",
    "write_weights",
]
