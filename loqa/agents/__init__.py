"""Whatever sits in a seat: networks, strategies, published agents."""
