"""Supervised fine-tuning of our encoder on one task, out of fold: the paper's second operating point."""
