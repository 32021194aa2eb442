"""dependencies.py: the versions that it asks for, and what it says of a failure."""

import dependencies
import pytest

STATED = 'dependencies = [\n  "numpy>=1.26",\n  "tqdm>=4.65",\n]\n\n[x]\nonnx = ["onnx>=1"]\n'


@pytest.mark.parametrize(
    ("which", "version", "asked"),
    [
        ("oldest", (3, 12), ["numpy==1.26", "tqdm==4.65"]),
        ("oldest", (3, 13), ["numpy==2.1.0", "tqdm==4.65"]),  # its first wheels
        ("newest", (3, 13), ["numpy>=1.26", "tqdm>=4.65"]),
    ],
)
def test_versions_are_those_of_the_project(tmp_path, monkeypatch, which, version, asked):
    (tmp_path / "pyproject.toml").write_text(STATED)
    monkeypatch.setattr(dependencies, "ROOT", tmp_path)
    assert dependencies.requirements(which, version) == asked


def test_every_dependency_of_the_project_is_found():
    names = [asked.partition("==")[0] for asked in dependencies.requirements("oldest", (3, 10))]
    assert names == ["numpy", "click", "tqdm", "safetensors", "threadpoolctl"]
    assert all((dependencies.ROOT / path).exists() for path in dependencies.TESTS)


def test_another_set_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["dependencies.py", "--sets", "old"])
    with pytest.raises(SystemExit) as stopped:
        dependencies.main()
    assert stopped.value.code == 2
    assert "--sets must be oldest, newest or both" in capsys.readouterr().err
