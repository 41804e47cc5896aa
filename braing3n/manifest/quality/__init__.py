"""Quality: what is measured of each volume, the page that shows it, and what a reviewer decides."""
