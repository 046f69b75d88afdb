"""The Coin Game."""
