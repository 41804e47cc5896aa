"""The tables of the paper, one module a group."""
