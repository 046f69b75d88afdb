"""`python -m loqa` is the command `loqa`."""

import sys

from loqa.cli.main import main

sys.exit(main())
