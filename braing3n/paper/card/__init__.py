"""The dataset card and the bias card: what a run holds, and who is in it."""
