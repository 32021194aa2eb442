"""scripts/dynamic_settings: the losses in its table are those of the settings that it names."""

import pytest
from load_script import load_script

from charlstm import load
from charlstm.config import DynamicConfig
from charlstm.dynamic import DynamicEvaluation, gradient_rms, own_text
from charlstm.launch import run_texts
from charlstm.scorer import evaluate

script = load_script("dynamic_settings")


def test_each_loss_is_that_of_its_setting_on_the_validation_part(trained, capsys):
    options = ["--rates", "0.0005", "0.002", "--decays", "0", "0.5", "--segment", "15"]
    script.main([str(trained), *options, "--characters", "200"])
    lines = capsys.readouterr().out.splitlines()
    model, held_out = load(trained), run_texts(trained)[1]
    rms = gradient_rms(model, own_text(model, 15), 15)
    for line, rate in zip(lines[2:4], (0.0005, 0.002), strict=True):
        expected = [f"{rate:g}"]
        for decay in (0.0, 0.5):
            dynamic = DynamicEvaluation(model, rms, DynamicConfig(15, rate, decay))
            expected.append(f"{dynamic.evaluate(held_out[:201]).nats_per_character:.4f}")
        assert line.strip("| ").replace(" ", "").split("|") == expected
    static = evaluate(model, held_out[:201]).nats_per_character
    assert lines[-1] == f"nats a character over 200, weights that stay: {static:.4f}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["none"], "none: no such file"), (["{run}", "--rates", "2"], "rate must be 0 to 1")],
)
def test_what_is_refused_is_one_line(trained, arguments, message):
    with pytest.raises(SystemExit) as exit_:
        script.main([argument.format(run=trained) for argument in arguments])
    assert message in str(exit_.value) and "\n" not in str(exit_.value)
