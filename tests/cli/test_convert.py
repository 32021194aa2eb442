"""charlstm convert: models of PyTorch as other programs save them, and what it refuses."""

import json

import numpy as np
import pytest

import charlstm

torch = pytest.importorskip("torch")
CHARACTERS = list("\n abcé")


class CharRNN(torch.nn.Module):
    """A model as in many tutorials, with an embedding before the layers."""

    def __init__(self, cell, numbers, hidden):
        super().__init__()
        self.encoder = torch.nn.Embedding(len(CHARACTERS), numbers)
        self.rnn = cell(numbers, hidden, 2, batch_first=True)
        self.decoder = torch.nn.Linear(hidden, len(CHARACTERS))

    def forward(self, ids):
        return self.decoder(self.rnn(self.encoder(ids))[0]).log_softmax(-1)


@pytest.mark.parametrize("numbers", [5, 8])
@pytest.mark.parametrize("cell", [torch.nn.LSTM, torch.nn.GRU])
def test_a_model_with_an_embedding_predicts_the_same(cli, tmp_path, cell, numbers):
    torch.manual_seed(1)
    theirs = CharRNN(cell, numbers, 8)
    torch.save({"epoch": 3, "model": theirs.state_dict()}, tmp_path / "m.pth")
    ids = {character: k for k, character in enumerate(CHARACTERS)}
    (tmp_path / "v.json").write_text(json.dumps(ids))
    output = tmp_path / "m.safetensors"
    result = cli("convert", tmp_path / "m.pth", output, "--vocab", tmp_path / "v.json")
    assert result.stdout == f"{output}\n"
    ours = charlstm.load(output)
    assert list(ours.vocab.symbols) == CHARACTERS
    text = torch.arange(20) % len(CHARACTERS)
    activations = ours.new_activations(20, 1)
    ours.forward(text[:, None].numpy(), ours.initial_state(1), activations)
    expected = theirs(text[None])[0].detach().numpy()
    np.testing.assert_allclose(activations.log_probs, expected, atol=1e-5)


def test_a_safetensors_file_of_an_lstm_on_one_hot_vectors(cli, tmp_path):
    from safetensors.torch import save_file

    layers, head = torch.nn.LSTM(6, 4), torch.nn.Linear(4, 6)
    tensors = {f"lstm.{name}": tensor for name, tensor in layers.state_dict().items()}
    tensors |= {f"fc.{name}": tensor for name, tensor in head.state_dict().items()}
    save_file(tensors, tmp_path / "m.safetensors")
    (tmp_path / "v.json").write_text(json.dumps(CHARACTERS))
    cli("convert", tmp_path / "m.safetensors", tmp_path / "o", "--vocab", tmp_path / "v.json")
    assert charlstm.load(tmp_path / "o").config == charlstm.ModelConfig(hidden=4, layers=1)


def test_refused_files(cli, tmp_path):
    (tmp_path / "v.json").write_text(json.dumps(CHARACTERS))

    def error(saved, *words):
        torch.save(saved, tmp_path / "m.pt")
        return cli("convert", tmp_path / "m.pt", tmp_path / "o", *words, code=1).stderr

    vocab = ("--vocab", tmp_path / "v.json")
    layers = torch.nn.LSTM(6, 4).state_dict()
    assert "the vocabulary must be a JSON list of characters" in error(layers)
    assert "the weights of one nn.LSTM, nn.GRU or nn.RNN are not in it" in error({}, *vocab)
    assert "must have one weight of nn.Linear of 6 symbols" in error(layers, *vocab)
    whole = {**layers, "fc.weight": torch.zeros(6, 4)}
    del whole["weight_hh_l0"]
    assert "the weights of one nn.LSTM" in error(whole, *vocab)
    (tmp_path / "m.pt").write_bytes(b"no weights")
    done = cli("convert", tmp_path / "m.pt", tmp_path / "o", *vocab, code=1)
    assert "cannot be read as weights and JSON" in done.stderr
    done = cli("convert", tmp_path / "none.pt", tmp_path / "o", *vocab, code=1)
    assert done.stderr.endswith("none.pt: cannot be read: No such file or directory\n")
    (tmp_path / "o").write_text("mine")
    done = cli("convert", tmp_path / "m.pt", tmp_path / "o", *vocab, code=1)
    assert "--overwrite" in done.stderr
