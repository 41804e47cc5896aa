"""What a person does with a model folder: encode, reconstruct, generate, change, forecast, predict."""
