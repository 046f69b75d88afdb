"""What people type: `loqa` and its commands."""
