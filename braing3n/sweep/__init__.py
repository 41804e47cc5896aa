"""Table 5: the bottleneck sweep and a baseline tokenizer on a few cohorts, from scratch."""

STAGE_VERSION = 4  # began as the tokenizer's, whose rules these were
