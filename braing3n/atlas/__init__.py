"""SRI24's place in MNI space, the ICBM152 templates, and the segmentation that they allow."""
