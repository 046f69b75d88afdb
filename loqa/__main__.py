"""`python -m loqa` is the command `loqa`."""

import sys

from loqa.cli import main

sys.exit(main())
