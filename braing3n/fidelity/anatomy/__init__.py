"""Whether generated brains have the tissue, ventricle and regional volumes of real ones, and their change with age."""
