"""The kit's own instruments: each notices what it is for, and nothing else."""

from __future__ import annotations

import json
import random
import re
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.testing import probes
from azr_env.types import BLANK, Claim, Job, Mode, OutcomeStatus, Status


def test_short_texts_stay_and_long_ones_are_cut_and_printable() -> None:
    assert probes.short("a") == "'a'"
    cut = probes.short("\ud800" * 1000)
    assert len(cut) < 150
    assert "characters" in cut
    assert cut.isascii()


def test_examples_follow_the_profile_in_force() -> None:
    assert probes.examples().max_examples == max(10, settings().max_examples)
    assert probes.examples(0.5).max_examples == max(10, settings().max_examples // 2)
    assert probes.examples().deadline is None


def test_a_quiet_block_passes() -> None:
    with probes.quiet_random_state("nobody"):
        random.Random(0).random()
        np.random.default_rng(0).random()


def test_a_change_of_random_is_noticed() -> None:
    noticed = pytest.raises(AssertionError, match="somebody changed the global state of `random`")
    with noticed, probes.global_seeds(1), probes.quiet_random_state("somebody"):
        random.random()


@pytest.mark.parametrize("size", [1, 700])
def test_a_change_of_numpy_is_noticed(size: int) -> None:
    noticed = pytest.raises(AssertionError, match=r"changed the global state of `numpy\.random`")
    with noticed, probes.global_seeds(1), probes.quiet_random_state("somebody"):
        np.random.rand(size)  # noqa: NPY002


def test_global_seeds_seed_and_restore() -> None:
    before = random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    with probes.global_seeds(3):
        first = random.random(), np.random.rand()  # noqa: NPY002
    with probes.global_seeds(3):
        assert (random.random(), np.random.rand()) == first  # noqa: NPY002
    assert (random.getstate(), repr(np.random.get_state())) == before  # noqa: NPY002


def test_the_watchdog_ends_a_loop() -> None:
    with pytest.raises(AssertionError, match=r"the loop took over 0\.1 s"), probes.watchdog("the loop", 0.1):
        time.sleep(600)


def test_the_watchdog_leaves_timer_and_handler_as_they_were() -> None:
    handler = signal.getsignal(signal.SIGALRM)
    with probes.watchdog("nothing"):
        pass
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_watchdog_in_a_thread_does_nothing() -> None:
    done: list[bool] = []

    def work() -> None:
        with probes.watchdog("sleep", 0.01):
            time.sleep(0.05)
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_lines_are_counted_up_to_a_bound() -> None:
    def loop(count: int) -> None:
        for _ in range(count):
            pass

    assert probes.lines_run(lambda: loop(1000)) - probes.lines_run(lambda: loop(500)) == pytest.approx(1000, abs=20)
    assert probes.lines_run(lambda: loop(10_000), 100) == 101


def test_linear_work_passes_and_quadratic_work_does_not() -> None:
    probes.check_linear(lambda text: [letter for letter in text if letter == "x"], "a scan")
    probes.check_linear(str.strip, "C")

    def quadratic(text: str) -> int:
        count = 0
        for _ in text:
            for _ in text:
                count += 1
        return count

    with pytest.raises(AssertionError, match=r"counting of 2,000 characters made of '\['"):
        probes.check_linear(quadratic, "counting")


def test_bulk_has_its_size() -> None:
    assert [len(probes.bulk(piece, 1001)) for piece in probes.PIECES] == [1001] * len(probes.PIECES)


def test_the_failing_domain_fails_and_counts() -> None:
    domain = PrimeInversionDomain(31)
    task = domain.task(Mode.DEDUCTION, 7, 3)
    double = probes.FailingDomain(domain)
    claims = [Claim(task, "5", task.program, task.examples)] * 2
    assert [verdict.status for verdict in double.holds(claims)] == [Status.ERROR] * 2
    assert double.asked == 2
    assert double.fences[BLANK[Mode.DEDUCTION]] == "output"
    assert double.name == "prime_inversion"


def test_the_failing_executor_fails() -> None:
    ((outcome,),) = probes.failing_executor().run([Job("def f(x): return x", ("(i1;)",))])
    assert outcome.status is OutcomeStatus.INFRA


def test_a_check_runs_again_elsewhere(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    found = {"same": [1, "\ud800", None], "hash": hash("azr")}
    seen = {}
    for seed, other in probes.elsewhere(request, found):
        assert other["same"] == json.loads(json.dumps(found["same"]))
        seen[seed] = other["hash"]
    if seen:  # not in the other processes
        assert list(seen) == list(probes.HASH_SEEDS)
        assert len(set(seen.values())) == len(seen)


def test_a_check_that_cannot_run_elsewhere_is_told(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    other = tmp_path / "test_gone.py"
    other.write_text("def test_other(): assert 1 + 1 == 3, 'no such thing'\n")

    class Fake:
        config = request.config
        path = other
        node = type("Node", (), {"nodeid": "test_gone.py::test_other"})

    words = re.escape("could not be run again in a fresh process under PYTHONHASHSEED=0")
    with pytest.raises(AssertionError, match=f"(?s){words}.*no such thing"):
        list(probes.elsewhere(Fake(), 1))  # type: ignore[arg-type]
