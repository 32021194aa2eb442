"""charlstm cache: its size is shown, and it is checked and cleared."""


def test_the_cache_is_shown_and_cleared(cli, cache, text_file, tmp_path):
    cli("train", text_file, "-r", tmp_path / "run", "--steps", 1, "--hidden", 2, "--quiet")
    assert cli("cache").stdout.startswith(f"{tmp_path / 'cache'}: 1 text, ")
    assert "bytes freed" in cli("cache", "--clear").stdout
    assert cli("cache").stdout.startswith(f"{tmp_path / 'cache'}: 0 texts, 0 of ")


def test_a_check_removes_damaged_texts(cli, cache, text_file, tmp_path):
    for name, level in (("run", "char"), ("other", "byte")):
        options = ("--level", level, "--steps", 1, "--hidden", 2, "--quiet")
        cli("train", text_file, "-r", tmp_path / name, *options)
    intact = "2 texts intact, 0 damaged and removed\n"
    assert cli("cache", "--check").stdout == intact
    next(cache.glob("*/ids.bin")).write_bytes(b"x")
    one_damaged = "1 text intact, 1 damaged and removed\n"
    assert cli("cache", "--check").stdout == one_damaged
    assert cli("cache").stdout.startswith(f"{cache}: 1 text, ")
    assert "--check or --clear, not both" in cli("cache", "--check", "--clear", code=2).stderr
