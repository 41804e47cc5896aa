"""Preprocess: a shard of raw scans becomes volumes in SRI24, and rows that say why some did not."""

STAGE_VERSION = 8
