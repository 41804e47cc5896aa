"""The distances between two sets of features or volumes, one idea a file; none knows where they come from."""
