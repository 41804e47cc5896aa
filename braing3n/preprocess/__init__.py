"""Preprocess: an inventory shard of raw scans becomes volumes in SRI24 and rows that say why others did not."""

STAGE_VERSION = 1
