"""A copy detector that is trained on the run's own volumes: views of one volume lie near, others far.

After Dar et al. (2024, "Unconditional latent diffusion models memorize patient imaging data"), who look for
copies of 3-D scans with a self-supervised network, and with the loss of SimCLR (Chen et al. 2020).
"""
