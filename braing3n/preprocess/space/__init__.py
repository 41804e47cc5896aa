"""The SRI24 grid, and the linear ways to it."""
