"""The tokenizer (phase 2): a linear projection of the encoder's tokens and a CNN decoder."""

STAGE_VERSION = 4
