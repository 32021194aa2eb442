"""dynamic_evaluation.py: the losses in its table are those of its rates and decays."""

import dynamic_evaluation as script
import pytest

from charlstm import load
from charlstm.analysis.dynamic_evaluation import DynamicConfig, DynamicEvaluation
from charlstm.analysis.segment_gradients import gradient_rms, own_text
from charlstm.network.scoring import evaluate
from charlstm.runs.texts import training_and_validation_ids


def test_each_loss_is_that_of_its_setting_on_the_validation_part(trained, capsys):
    options = ["--rates", "0.0005", "0.002", "--decays", "0", "0.5", "--segment", "15"]
    script.main([str(trained), *options, "--characters", "200"])
    lines = capsys.readouterr().out.splitlines()
    model, held_out = load(trained), training_and_validation_ids(trained).validation
    rms = gradient_rms(model, own_text(model, 15), 15)
    for line, rate in zip(lines[2:4], (0.0005, 0.002), strict=True):
        expected = [f"{rate:g}"]
        for decay in (0.0, 0.5):
            dynamic = DynamicEvaluation(model, rms, DynamicConfig(15, rate, decay))
            expected.append(f"{dynamic.evaluate(held_out[:201]).nats_per_character:.4f}")
        assert line.strip("| ").replace(" ", "").split("|") == expected
    static = evaluate(model, held_out[:201]).nats_per_character
    assert lines[-1] == f"nats per character over 200; with fixed weights: {static:.4f}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["none"], "none: no such file"), (["{run}", "--rates", "2"], "`rate` must be 0 to 1")],
)
def test_a_wrong_run_or_rate_is_refused_in_one_line(trained, arguments, message):
    with pytest.raises(SystemExit) as exit_:
        script.main([argument.format(run=trained) for argument in arguments])
    assert message in str(exit_.value) and "\n" not in str(exit_.value)
