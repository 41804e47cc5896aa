"""Table 5: the bottleneck sweep and the baseline tokenizers on a few cohorts, from scratch."""

STAGE_VERSION = 5  # began as the tokenizer's, whose rules these were
