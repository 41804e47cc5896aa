"""Whether generated brains have the volumes of tissues and regions that real ones have, at every age."""
