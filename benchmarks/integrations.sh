#!/usr/bin/env bash
# The tests of the integrations beside the real packages, each in an environment of its own under runs/integrations,
# since what they pin does not go together (garak and LLM Guard ask for older transformers than constraints.txt has).
#
#     benchmarks/integrations.sh [inspect] [lm-eval] [garak] [llm-guard]       default: all; gigabytes with torch
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
where=runs/integrations

run() { # name, test file, packages...
    local name=$1 tests=$2 venv=$where/$1
    shift 2
    [ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 pytest hypothesis -e . "$@"
    echo "== $name: $("$venv/bin/pip" freeze | grep -i -E '^(inspect|lm.eval|garak|llm.guard)' | tr '\n' ' ')"
    "$venv/bin/python" -m pytest -q -rs "$tests"
}

for name in "${@:-inspect lm-eval garak llm-guard}"; do
    for one in $name; do
        case $one in
        inspect) run inspect tests/test_inspect.py 'inspect_ai==0.3.285' 'inspect_evals==0.26.0' anyio ;;
        lm-eval) run lm-eval tests/test_lm_eval.py 'lm_eval==0.4.13' datasets transformers ;;
        garak) run garak tests/test_garak.py 'garak==0.17.1' ;;
        llm-guard) run llm-guard tests/test_llm_guard.py 'llm-guard==0.3.16' ;;
        *) echo "no integration $one" >&2; exit 2 ;;
        esac
    done
done
