"""The nearest-neighbour audit: are samples closer to training scans than people are to each other?"""

STAGE_VERSION = 6
