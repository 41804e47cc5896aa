"""Preprocessed NIfTI to packed, model-ready arrays: crop, 16 bits, random access."""

STAGE_VERSION = 2
