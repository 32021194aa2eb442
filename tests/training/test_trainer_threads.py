"""Threads and memory of a trainer: BLAS threads, worker threads, and no growth over many steps."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from small_trainers import make_trainer, take_steps
from threadpoolctl import threadpool_info, threadpool_limits

from charlstm import CharModel, ModelConfig, TrainConfig, Trainer, Vocab


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_blas_has_one_thread_within_a_step_and_as_many_as_before_after_it(monkeypatch):
    seen = []
    trainer = make_trainer(workers=2, dtype="float64")  # whose products BLAS computes
    forward = trainer.model.forward

    def counting_threads(*arguments):
        seen.append(blas_threads())
        return forward(*arguments)

    monkeypatch.setattr(trainer.model, "forward", counting_threads)
    with threadpool_limits(2, "blas"):
        trainer.step()
        assert seen == [{1}, {1}]
        assert blas_threads() == {2}
    trainer.close()


def test_blas_has_as_many_threads_as_before_after_two_trainers_in_two_threads():
    expected, _ = take_steps(30)
    losses = [[], []]
    end = threading.Barrier(3)

    def work(k):
        losses[k] = take_steps(30)[0]
        end.wait(20)  # both threads are alive until here

    with threadpool_limits(2, "blas"):
        pass  # so that no other thread controls BLAS
    before = blas_threads()
    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    end.wait(20)
    assert blas_threads() == before
    for thread in threads:
        thread.join()
    assert losses == [expected, expected]


def test_closing_ends_the_worker_threads():
    before = threading.active_count()
    trainer = make_trainer(workers=3)
    trainer.step()
    trainer.close()
    assert threading.active_count() == before


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux has /proc")
def test_memory_does_not_grow_after_the_first_steps():
    """With 2 x 128 units, batch size 50 and sequence length 50 it was flat over 5,000 steps."""
    vocab = Vocab.from_text("abcdefgh")
    ids = np.random.default_rng(0).integers(8, size=20_000).astype(np.uint8)
    model = CharModel(ModelConfig(hidden=32, layers=2), vocab)
    trainer = Trainer(model, ids, TrainConfig(batch_size=16, seq_length=20, dropout=0.1, workers=2))
    for _ in range(100):
        trainer.step()
    before = resident_bytes()
    for _ in range(400):
        trainer.step()
    trainer.close()
    # a leak of one worker's activations in each step would be a hundred times that
    assert resident_bytes() - before < 2_000_000


def test_steps_in_several_threads_are_made_one_after_the_other():
    expected, _ = take_steps(12, workers=2)
    trainer, losses = make_trainer(workers=2), []
    threads = [
        threading.Thread(target=lambda: losses.extend(trainer.step() for _ in range(4)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trainer.close()
    assert sorted(losses) == sorted(expected)
