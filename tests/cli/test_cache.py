"""charlstm cache: its size is shown, and it is cleared."""


def test_the_cache_is_shown_and_cleared(cli, cache, text_file, tmp_path):
    cli("train", text_file, "-r", tmp_path / "run", "--steps", 1, "--hidden", 2, "--quiet")
    assert cli("cache").stdout.startswith(f"{tmp_path / 'cache'}: 1 texts, ")
    assert "bytes freed" in cli("cache", "--clear").stdout
    assert cli("cache").stdout.startswith(f"{tmp_path / 'cache'}: 0 texts, 0 of ")
