#!/usr/bin/env bash
# The tests of the integrations beside the real packages, each in an environment of its own under runs/integrations,
# since what they pin does not go together (garak and LLM Guard ask for older transformers than constraints.txt has).
#
#     benchmarks/integrations.sh [inspect] [lm-eval] [garak] [llm-guard] [promptfoo]    default: all; gigabytes with torch
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
where=runs/integrations
torch=torch==2.13.0

run() { # name, test file, packages...
    local name=$1 tests=$2 venv=$where/$1
    shift 2
    [ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check pytest hypothesis -e . "$@"
    echo "== $name: $("$venv/bin/pip" freeze | grep -i -E '^(inspect|lm.eval|garak|llm.guard)' | tr '\n' ' ')"
    "$venv/bin/python" -m pytest -q -rs "$tests"
}

promptfoo() { # a Node package, which asks for Node 22.22 or newer
    npm install --silent --no-audit --no-fund --prefix "$where/promptfoo" node@24.19.0 promptfoo@0.123.1
    PATH=$PWD/$where/promptfoo/node_modules/.bin:$PATH run promptfoo tests/test_promptfoo.py
}

for name in "${@:-inspect lm-eval garak llm-guard promptfoo}"; do
    for one in $name; do
        case $one in
        inspect) run inspect tests/test_inspect.py 'inspect_ai==0.3.285' 'inspect_evals==0.26.0' anyio ;;
        lm-eval) run lm-eval tests/test_lm_eval.py "$torch" 'lm_eval==0.4.13' datasets transformers ;;
        garak) run garak tests/test_garak.py "$torch" 'garak==0.17.1' ;;
        llm-guard) run llm-guard tests/test_llm_guard.py "$torch" 'llm-guard==0.3.16' ;;
        promptfoo) promptfoo ;;
        *) echo "no integration $one" >&2; exit 2 ;;
        esac
    done
done
