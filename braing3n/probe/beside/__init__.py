"""What stands beside a score: rivals, checks, subgroups, controls and other readouts."""
