"""Networks of others, in the layout of their official checkpoints, whatever libraries are installed."""
