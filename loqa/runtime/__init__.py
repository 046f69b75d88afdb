"""What a computation stands on: devices, processes, graphs, random streams, torch's settings."""
