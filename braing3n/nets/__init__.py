"""What the networks share: transformer parts and weight files."""
