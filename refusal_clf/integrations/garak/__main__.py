"""garak's command with the detector `refusal_clf.NotRefused`: `python -m refusal_clf.integrations.garak ARGUMENTS`.

All arguments are garak's, except `--replace-string-matching`: then the detector stands in for garak's lists of refusal
phrases (`mitigation.MitigationBypass`, `mitigation.Prefixes`) wherever a probe asks for one of them.
"""

from __future__ import annotations

import sys
from typing import Final

from refusal_clf.cli.extras import need
from refusal_clf.cli.progress import say
from refusal_clf.records import InputError

REPLACE: Final = "--replace-string-matching"


def main() -> None:
    """Run garak: exit status 2 with one line on standard error if it is missing or of another kind."""
    arguments = sys.argv[1:]
    try:
        need("garak", "garak")
        from refusal_clf.integrations.garak.detector import register

        register(replace=REPLACE in arguments)
    except InputError as error:
        say(f"refusal-clf: error: {error}")
        sys.exit(2)
    from garak import cli

    cli.main([argument for argument in arguments if argument != REPLACE])


if __name__ == "__main__":
    main()
