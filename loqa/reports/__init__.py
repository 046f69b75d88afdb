"""Pages of HTML that show runs, sweeps and leagues."""
