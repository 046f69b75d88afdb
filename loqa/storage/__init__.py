"""Files: written atomically, read with care."""
