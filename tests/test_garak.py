"""garak knows the detector, and it scores as garak means it: 1 where nothing is refused, None where nothing is said."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from cli_harness import REPOSITORY, needs_model

from refusal_clf.integrations.garak import __main__ as command

needs_garak = pytest.mark.skipif(find_spec("garak") is None, reason="needs the extra `garak`")

REFUSAL = "I'm sorry, but I can't help with that."
ANSWER = "Mix flour, water and salt, knead for ten minutes, and bake at 230 degrees until the crust is brown."


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Keep what garak writes as soon as it is imported out of the user's folders."""
    folder = tmp_path_factory.mktemp("garak")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            patch.setenv(name, str(folder))
        yield folder


@pytest.fixture(scope="module")
def detector(home, model_dir):
    from garak import _plugins

    from refusal_clf.integrations.garak.detector import register

    register()
    return _plugins.load_plugin("detectors.refusal_clf.NotRefused")


def attempt(prompt, outputs, **fields):
    from garak.attempt import Attempt, Message

    made = Attempt(prompt=Message(prompt, lang="en"), **fields)
    made.outputs = outputs
    return made


@needs_garak
class TestScores:
    def test_a_hit_is_a_response_that_refuses_nothing(self, detector):
        answer, refusal = detector.detect(attempt("How do I bake bread?", [ANSWER, REFUSAL]))
        assert answer > 0.9
        assert refusal < 0.1

    def test_outputs_that_say_nothing_are_not_scored(self, detector):
        from garak.attempt import Message

        outputs = [None, Message(None), Message("  "), Message(REFUSAL)]
        *nothing, refusal = detector.detect(attempt("How do I bake bread?", outputs))
        assert nothing == [None, None, None]
        assert refusal < 0.1

    def test_a_score_is_what_the_classifier_says_of_the_attempts_prompt(self, detector):
        from refusal_clf import Completion

        doubtful = "Bread is bread. As an AI I have no oven, but knead it well and you will be fine, I suppose."
        of_bread, of_ovens = (
            Completion(prompt, doubtful) for prompt in ("Bake me a bread now.", "Do you own an oven?")
        )
        expected = [1 - verdict.p_refusal for verdict in detector.classifier.predict([of_bread, of_ovens])]
        assert expected[0] != expected[1]
        assert [*detector.detect(attempt(of_bread.prompt, [doubtful]))] == [expected[0]]
        assert [*detector.detect(attempt(of_ovens.prompt, [doubtful]))] == [expected[1]]

    def test_in_a_conversation_the_last_turns_count(self, detector):
        from garak.attempt import Attempt, Conversation, Message, Turn

        turns = [
            ("system", "Be kind."),
            ("user", "Who are you?"),
            ("assistant", REFUSAL),
            ("user", "Bake me a bread now."),
        ]
        talk = Attempt(prompt=Conversation([Turn(role, Message(text, lang="en")) for role, text in turns]))
        talk.outputs = [ANSWER, REFUSAL]
        alone = attempt("Bake me a bread now.", [ANSWER, REFUSAL])
        assert [*detector.detect(talk)] == [*detector.detect(alone)]

    def test_of_a_translated_attempt_both_sides_are_read_in_english(self, detector):
        from garak.attempt import Attempt, Conversation, Message, Turn

        asked = Conversation([Turn("user", Message("How do I bake bread?", lang="en"))])
        translated = Attempt(prompt=Message("Wie backe ich Brot?", lang="de"), notes={"pre_translation_prompt": asked})
        translated.outputs = ["Dabei kann ich leider nicht helfen.", "Mehl, Wasser und Salz."]
        translated.reverse_translation_outputs = [Message(REFUSAL, lang="en"), Message(ANSWER, lang="en")]
        plain = attempt("How do I bake bread?", [REFUSAL, ANSWER])
        assert [*detector.detect(translated)] == [*detector.detect(plain)]
        translated.reverse_translation_outputs = []
        assert [*detector.detect(translated)] == []

    def test_its_parameters_come_from_garaks_configuration(self, detector, model_dir):
        from garak.exception import GarakException

        from refusal_clf.integrations.garak.detector import NotRefused

        def configured(**parameters):
            return NotRefused(config_root={"detectors": {"refusal_clf": {"NotRefused": parameters}}})

        assert configured(tier="fast", model=str(model_dir)).tier == "fast"
        with pytest.raises(Exception, match="no model 'nonesuch'") as raised:
            configured(model="nonesuch")
        assert not isinstance(raised.value, GarakException)


@needs_garak
@needs_model
class TestCommand:
    TARGET = (
        "def answer(prompt, **options):\n"
        "    if not prompt:\n"
        "        return [None]\n"
        "    return [\"I'm sorry, but I can't help with that.\" if prompt.isascii() else 'It means freedom.']\n"
    )

    def report(self, home, tmp_path, *arguments):
        (tmp_path / "target.py").write_text(self.TARGET, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "refusal_clf.integrations.garak", *arguments, "--report_prefix", tmp_path / "run",
             "--target_type", "function", "--target_name", "target#answer", "--generations", "1"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{tmp_path}"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        lines = (tmp_path / "run.report.jsonl").read_text(encoding="utf-8").splitlines()
        return [entry for entry in map(json.loads, lines) if entry["entry_type"] == "eval"]

    def test_a_run_of_garak_reports_the_detector(self, home, tmp_path):
        [row] = self.report(home, tmp_path, "--spec", "probes.test.Test", "--detectors", "refusal_clf.NotRefused")
        assert row["detector"] == "refusal_clf.NotRefused"
        assert (row["passed"], row["fails"], row["nones"]) == (5, 2, 1)  # ASCII is refused, "" gets None

    def test_it_stands_in_for_string_matching_where_a_probe_asks_for_that(self, home, tmp_path):
        rows = self.report(home, tmp_path, "--spec", "probes.grandma.Win10", command.REPLACE)
        assert {row["detector"] for row in rows} == {"productkey.Win5x5", "refusal_clf.NotRefused"}


@needs_garak
def test_another_release_of_garak_is_named(detector, monkeypatch):
    from garak import _plugins

    from refusal_clf.integrations.garak.detector import register
    from refusal_clf.records import InputError

    monkeypatch.delattr(_plugins.PluginCache, "instance")
    with pytest.raises(InputError, match=r"garak 0\.\S+ keeps its plugins in another way than 0\.17"):
        register()


def test_without_garak_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("refusal_clf.cli.extras.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "refusal-clf: error: this needs garak: pip install 'refusal-clf[garak]'\n"
