"""The masked autoencoder (phase 1): packed volumes to an encoder."""

STAGE_VERSION = 5
