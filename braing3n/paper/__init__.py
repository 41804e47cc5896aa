"""The paper's tables with our numbers beside the published ones, and one page that shows a run."""

STAGE_VERSION = 1
