"""The paper's tables with our numbers beside the published ones, the dataset card, and a page of a run."""

STAGE_VERSION = 11
