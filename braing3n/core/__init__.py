"""What everything stands on: settings, contracts, accounting, names, resources, the machine."""
