"""Our masked autoencoder: the mean over tokens, cached together with the tokens."""

SECTIONS = ("pretrain",)
HAS_PCA = False
