"""Every volume's tokens and pooled features, cached once; the baselines' features beside them."""

STAGE_VERSION = 5
