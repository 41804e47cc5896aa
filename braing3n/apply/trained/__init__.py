"""Commands on a model folder: encode, predict, reconstruct, generate, counterfactual, forecast."""
