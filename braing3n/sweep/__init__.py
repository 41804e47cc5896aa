"""Table 5: the bottleneck sweep and baseline tokenizers on one cohort, from scratch."""
