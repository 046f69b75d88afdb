"""Many runs, side by side: seeds and settings, and what they come to together."""
