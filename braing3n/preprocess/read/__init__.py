"""One raw scan of any format: opened, checked, capped."""
