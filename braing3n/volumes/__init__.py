"""Preprocessed NIfTI to packed, model-ready arrays: centre crop, 16 bits, random access."""

STAGE_VERSION = 2
