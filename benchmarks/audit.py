"""Ask whether advisories are known of the pins of constraints.txt, with pip-audit.

    python benchmarks/audit.py [--osv-url URL]      # URL: a mirror of OSV's query; without it PyPI is asked, then OSV

Exit status 0 if no pin has an advisory, 1 if one has, or if the audit broke. Where no advisories are in reach, the
status is 0 too, so that an outage stops nobody, and the last line says that nothing was audited.

pip-audit itself takes a package that an index does not describe for one without advisories. So each service is first
asked about a release whose advisories are old: what does not know them (a mirror that passes on packages alone, an
outage, a machine without a network) is not believed about the others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PINS = Path(__file__).parents[1] / "constraints.txt"
VULNERABLE = "jinja2==2.4.1"
"""PYSEC-2014-8, PYSEC-2019-217 and others: sandbox escapes that were mended in 2.7.2 and 2.10.1."""
SECONDS = 240

Finding = dict[str, Any]
"""Of one requirement, as pip-audit writes it: name and version with `vulns`, or name and `skip_reason`."""


def main() -> None:
    """Audit the pins with the first service that knows advisories at all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--osv-url", metavar="URL", help="ask this service, in OSV's way, and no other")
    options = parser.parse_args()
    url = options.osv_url
    services = {url: ["osv", "--osv-url", url]} if url else {"PyPI": ["pypi"], "OSV": ["osv"]}
    for name, service in services.items():
        known = ask_about(VULNERABLE, service)
        if isinstance(known, list) and known[0].get("vulns"):
            sys.exit(report(name, ask(PINS, service)))
        reason = known if isinstance(known, str) else known[0].get("skip_reason", f"it calls {VULNERABLE} clean")
        print(f"{name} gives no advisories: {reason}")
    print(f"NOT AUDITED: no pin of {PINS.name} was looked up, as no advisories are in reach.")


def ask_about(requirement: str, service: list[str]) -> list[Finding] | str:
    """Ask about one pinned requirement; see `ask`."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text(requirement + "\n", encoding="utf-8")
        return ask(file, service)


def ask(requirements: Path, service: list[str]) -> list[Finding] | str:
    """Return what pip-audit finds of each pinned requirement of a file, or, where it breaks, its last words."""
    quiet = ["--format=json", "--progress-spinner=off", "--no-deps", "--disable-pip", "--desc=off"]
    command = [sys.executable, "-m", "pip_audit", *quiet, "--requirement", str(requirements), "-s", *service]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        found: list[Finding] = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return f"no end within {SECONDS} seconds"
    except ValueError:
        return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:200]
    return found


def report(name: str, found: list[Finding] | str) -> int:
    """Print what was found; return the exit status."""
    if isinstance(found, str):
        print(f"the audit broke: {found}")
        return 1
    vulnerable = [one for one in found if one.get("vulns")]
    for one in vulnerable:
        for advisory in one["vulns"]:
            names, fixed = [advisory["id"], *advisory["aliases"]], advisory["fix_versions"] or ["no release"]
            print(f"{one['name']}=={one['version']}: {', '.join(names)}; fixed in {', '.join(fixed)}")
    skipped = [one for one in found if "skip_reason" in one]
    for one in skipped:
        print(f"NOT AUDITED: {one['skip_reason']}")
    print(f"{name}: {len(found) - len(skipped)} pins of {len(found)} looked up, {len(vulnerable)} with advisories")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    main()
