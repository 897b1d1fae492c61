"""Task sources: seeds, ids, and every way a file can be bad."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr_env import prompts, registry
from azr_env.buffer import TaskBuffer
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.python import PythonDomain
from azr_env.errors import AzrError, BufferSchemaError, SettingError, TaskFileError, UnknownNameError
from azr_env.executors.scripted import ScriptedExecutor
from azr_env.protocols import Domain, TaskSource
from azr_env.sources.builtin import BuiltinSource
from azr_env.sources.stored import ListSource, cruxeval, jsonl, write_jsonl
from azr_env.types import Example, Mode, Status, Task
from azr_env.verifiers.relation import RelationVerifier

CRUXEVAL = Path(__file__).parents[3] / "shared" / "data" / "cruxeval.jsonl"
needs_cruxeval = pytest.mark.skipif(not CRUXEVAL.is_file(), reason=f"{CRUXEVAL} is absent")


@pytest.fixture(scope="module")
def builtin(domain: Domain) -> BuiltinSource:
    return BuiltinSource("", domain)


@pytest.mark.parametrize("mode", Mode)
def test_builtin_is_a_function_of_the_generator(builtin: BuiltinSource, mode: Mode) -> None:
    first, again, other = (builtin.draw(mode, [np.random.default_rng(seed)] * 5) for seed in (1, 1, 2))
    assert first == again
    assert [task.id for task in first] != [task.id for task in other]
    assert all(task.mode is mode for task in first)


@pytest.mark.parametrize("mode", Mode)
def test_an_id_gives_the_task_again(builtin: BuiltinSource, domain: Domain, mode: Mode) -> None:
    drawn = builtin.draw(mode, [np.random.default_rng(3)] * 6)
    fresh = BuiltinSource("", domain)
    assert [fresh.get(task.id) for task in reversed(drawn)] == drawn[::-1]


@given(seed=st.integers(0, 2**32))
def test_neighbouring_seeds_do_not_overlap(prime_domain: PrimeInversionDomain, seed: int) -> None:
    source = BuiltinSource("", prime_domain)
    ids = [{task.id for task in source.draw(Mode.DEDUCTION, [np.random.default_rng(seed + k)] * 8)} for k in (0, 1)]
    assert ids[0].isdisjoint(ids[1])
    assert len(ids[0]) == 8


def test_keys_do_not_collide() -> None:
    """Six million exercises: two equal ones among 300 would show that the generator sees a part of the key only."""
    drawn = BuiltinSource("", PrimeInversionDomain(9973)).draw(Mode.DEDUCTION, [np.random.default_rng(0)] * 300)
    assert len({(task.program, task.examples[0].input) for task in drawn}) == 300


def test_one_at_a_time_is_the_same_as_many(prime_domain: PrimeInversionDomain) -> None:
    source = BuiltinSource("", prime_domain)
    rng, again = np.random.default_rng(0), np.random.default_rng(0)
    assert [source.draw(Mode.ABDUCTION, [rng])[0] for _ in range(5)] == source.draw(Mode.ABDUCTION, [again] * 5)


@pytest.mark.parametrize("mode", Mode)
def test_builtin_tasks_are_well_formed(builtin: BuiltinSource, domain: Domain, mode: Mode) -> None:
    count, shown = domain.induction_inputs if mode is Mode.INDUCTION else (1, 0)
    for task in builtin.draw(mode, [np.random.default_rng(4)] * 5):
        assert (len(task.examples), task.shown, task.domain) == (count, shown, domain.name)
        assert task.id.startswith(f"builtin-{mode}-")


def test_builtin_tasks_are_diverse(builtin: BuiltinSource, domain: Domain) -> None:
    tasks = builtin.draw(Mode.DEDUCTION, [np.random.default_rng(4)] * 30)
    assert len({domain.identity(task) for task in tasks}) > 20


@pytest.mark.parametrize(
    "task_id",
    [
        "", "x", "builtin", "builtin-", "builtin-deduction", "builtin-deduction-", "builtin-deduction-xyz",
        "builtin-deduktion-1", "builtin-deduction-1-1", "other-deduction-1", "builtin-deduction--1",
        "builtin-deduction-0x1", "builtin-deduction-1_0", "builtin-deduction- 1", "builtin-deduction-FF",
        "builtin-deduction-01", "builtin-deduction-+1", "BUILTIN-deduction-1", "\ud800", "builtin-deduction-\u0661",
        None, 7, ("a",),
    ],
)  # fmt: skip
def test_unknown_builtin_ids(prime_domain: PrimeInversionDomain, task_id: object) -> None:
    """An id is the one that `draw` gave, to the letter: otherwise two ids would name one task."""
    with pytest.raises(UnknownNameError, match="builtin-deduction-1f2e3d"):
        BuiltinSource("", prime_domain).get(task_id)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("difficulty", "not KEY=VALUE"),
        ("difficulty=2-4,x", "'x' is not KEY=VALUE"),
        ("depth=3", "'depth' is unknown"),
        ("types=float", "int, str, list"),
        ("types=", "int, str, list"),
        ("types=int+", "int, str, list"),
        ("difficulty=0", "within 1 to 12"),
        ("difficulty=4-2", "within 1 to 12"),
        ("difficulty=1-13", "within 1 to 12"),
        ("difficulty=", "within 1 to 12"),
        ("difficulty=-3", "within 1 to 12"),
        ("difficulty=two", "within 1 to 12"),
        ("family=tree", "chain|affine|statements"),
        ("induction=tree", "chain|affine|statements"),
    ],
)
def test_python_settings_that_cannot_work(python_domain: PythonDomain, argument: str, says: str) -> None:
    with pytest.raises(SettingError) as caught:
        BuiltinSource(argument, python_domain)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "argument",
    ["primes=5", "primes=5-", "primes=-5", "primes=8-10", "primes=3-32", "primes=7-5", "primes=a-b", "difficulty=2"],
)
def test_prime_settings_that_cannot_work(prime_domain: PrimeInversionDomain, argument: str) -> None:
    with pytest.raises(SettingError):
        BuiltinSource(argument, prime_domain)


@pytest.mark.parametrize(
    "argument",
    ["types=int,difficulty=1", "types=str+list,difficulty=12", "family=affine", "family=statements", " types = int "],
)
def test_python_settings_that_work(python_domain: PythonDomain, argument: str) -> None:
    assert len(BuiltinSource(argument, python_domain).draw(Mode.ABDUCTION, [np.random.default_rng(0)] * 3)) == 3


def test_prime_settings_bound_the_prime(prime_domain: PrimeInversionDomain) -> None:
    drawn = BuiltinSource("primes=11-13", prime_domain).draw(Mode.DEDUCTION, [np.random.default_rng(0)] * 60)
    assert {task.program for task in drawn} == {"11", "13"}


def test_primes_are_drawn_uniformly_and_then_the_numbers(prime_domain: PrimeInversionDomain) -> None:
    drawn = BuiltinSource("primes=3-7", prime_domain).draw(Mode.DEDUCTION, [np.random.default_rng(0)] * 1200)
    counts = Counter(task.program for task in drawn)
    assert all(330 < counts[p] < 470 for p in ("3", "5", "7"))
    assert len({(task.program, task.examples[0].input) for task in drawn}) == 2 + 4 + 6


def test_a_failing_executor_is_an_error_of_ours_and_no_endless_search(broken_executor: ScriptedExecutor) -> None:
    source = BuiltinSource("", PythonDomain(broken_executor))
    with pytest.raises(AzrError, match="the executor failed while tasks were generated: the server died twice"):
        source.draw(Mode.DEDUCTION, [np.random.default_rng(0)] * 3)
    assert len(broken_executor.jobs) == 6


# Files


def row(**changes: object) -> str:
    base: dict[str, object] = {"mode": "deduction", "program": "7", "examples": [["3", "5"]]}
    return json.dumps({key: value for key, value in (base | changes).items() if value != "DROP"})


BAD_ROWS = {
    "no JSON": ("{", "Expecting property name"),
    "two on a line": ("{} {}", "Extra data"),
    "a list": ("[]", "not a JSON object"),
    "a text": ('"x"', "not a JSON object"),
    "null": ("null", "not a JSON object"),
    "no mode": (row(mode="DROP"), "no key 'mode'"),
    "no program": (row(program="DROP"), "no key 'program'"),
    "no examples": (row(examples="DROP"), "no key 'examples'"),
    "unknown mode": (row(mode="reduction"), "reduction"),
    "mode is a list": (row(mode=["deduction"]), "deduction"),
    "program is a number": (row(program=7), "program is 7, not a text"),
    "program is null": (row(program=None), "program is null, not a text"),
    "id is a number": (row(id=7), "id is 7, not a text"),
    "message is null": (row(message=None), "message is null, not a text"),
    "examples empty": (row(examples=[]), "not a list of [input, output] pairs"),
    "examples a text": (row(examples="ab"), "not a list of [input, output] pairs"),
    "examples an object": (row(examples={"3": "5"}), "not a list of [input, output] pairs"),
    "example a text of two": (row(examples=["35"]), "not a pair of texts"),
    "example of one": (row(examples=[["3"]]), "not a pair of texts"),
    "example of three": (row(examples=[["3", "5", "7"]]), "not a pair of texts"),
    "example of numbers": (row(examples=[[3, 5]]), "not a pair of texts"),
    "example of null": (row(examples=[["3", None]]), "not a pair of texts"),
    "two examples in deduction": (row(examples=[["3", "5"]] * 2), "exactly one example, not 2"),
    "shown in deduction": (row(shown=1), "shown=1 does not fit"),
    "shown is a text": (row(shown="0"), "shown='0' does not fit"),
    "shown is true": (row(mode="induction", shown=True), "shown=True does not fit"),
    "shown is a fraction": (row(mode="induction", shown=1.5), "shown=1.5 does not fit"),
    "shown too large": (row(mode="induction", shown=2), "shown=2 does not fit 1 example"),
    "shown none": (row(mode="induction", shown=0), "shown=0 does not fit"),
    "shown negative": (row(mode="induction", shown=-1), "shown=-1 does not fit"),
    "nested too deeply": ("[" * 100_000, "recursion"),
    "a number too long": ('{"mode": ' + "1" * 5000 + "}", "digit"),
    "byte order mark": ("\ufeff" + row(), "BOM"),
}


@pytest.mark.parametrize(("line", "reason"), BAD_ROWS.values(), ids=list(BAD_ROWS))
def test_a_bad_row_names_file_line_and_reason(
    tmp_path: Path, prime_domain: PrimeInversionDomain, line: str, reason: str
) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(f"{row()}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(TaskFileError) as caught:
        jsonl(str(path), prime_domain)
    assert f"{path}, line 3: " in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize("source", ["jsonl", "cruxeval"])
def test_bytes_that_are_no_text_name_the_line(tmp_path: Path, python_domain: PythonDomain, source: str) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b"\n" * 20_000 + b"\xff\xfe\n")
    with pytest.raises(TaskFileError, match=r"tasks\.jsonl, line 20001: .*utf-8"):
        registry.source(f"{source}:{path}", python_domain)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"input": "1", "output": "1", "id": "x"}, "no key 'code'"),
        ({"code": "c", "output": "1", "id": "x"}, "no key 'input'"),
        ({"code": "c", "input": "1", "id": "x"}, "no key 'output'"),
        ({"code": "c", "input": "1", "output": "1"}, "no key 'id'"),
        ({"code": None, "input": "1", "output": "1", "id": "x"}, "code is null"),
        ({"code": "c", "input": 1, "output": "1", "id": "x"}, "input is 1"),
        ({"code": "c", "input": "1", "output": [1], "id": "x"}, "output is [1]"),
        ({"code": "c", "input": "1", "output": "1", "id": 5}, "id is 5"),
    ],
)
def test_a_bad_cruxeval_row(tmp_path: Path, python_domain: PythonDomain, line: dict[str, object], reason: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps(line))
    with pytest.raises(TaskFileError) as caught:
        cruxeval(str(path), python_domain)
    assert f"{path}, line 1: {reason}" in str(caught.value)


@pytest.mark.parametrize("source", ["jsonl", "cruxeval", "buffer"])
@pytest.mark.parametrize("argument", ["", "no/such/file", "."])
def test_absent_files(python_domain: PythonDomain, source: str, argument: str) -> None:
    with pytest.raises(TaskFileError, match="no such file"):
        registry.source(f"{source}:{argument}", python_domain)


def test_two_tasks_of_one_id(tmp_path: Path, prime_domain: PrimeInversionDomain) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(f"{row(id='a')}\n{row(id='a')}\n")
    with pytest.raises(TaskFileError, match=r"tasks\.jsonl: two tasks have the id 'a'"):
        jsonl(str(path), prime_domain)


def test_defaults_of_a_row(tmp_path: Path, prime_domain: PrimeInversionDomain) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(f"\n{row()}\n  \n{row(mode='induction', examples=[['1', '1'], ['3', '5'], ['2', '4']])}")
    source = jsonl(str(path), prime_domain)
    assert source.get("deduction-line-2") == Task(
        "deduction-line-2", "prime_inversion", Mode.DEDUCTION, "7", (Example("3", "5"),)
    )
    assert source.get("induction-line-4").shown == 2


def test_an_empty_file_has_no_task(tmp_path: Path, prime_domain: PrimeInversionDomain) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n\n")
    with pytest.raises(SettingError, match="no deduction task; it has none"):
        jsonl(str(path), prime_domain).draw(Mode.DEDUCTION, [np.random.default_rng(0)])


def test_what_is_written_is_read(tmp_path: Path, python_domain: PythonDomain) -> None:
    hard = '\ud800 \n\r\u2028\0"\\ ```'
    tasks = [
        Task("a", "python", Mode.DEDUCTION, hard, (Example(hard, hard),)),
        Task(hard, "python", Mode.INDUCTION, "p", tuple(Example(str(k), hard) for k in range(5)), 2, hard),
    ]
    write_jsonl(tmp_path / "t.jsonl", tasks)
    source = jsonl(str(tmp_path / "t.jsonl"), python_domain)
    assert [source.get(task.id) for task in tasks] == tasks


def test_a_list_is_drawn_uniformly_and_by_mode(prime_domain: PrimeInversionDomain) -> None:
    source = ListSource(
        [prime_domain.task(Mode.DEDUCTION, 11, x) for x in range(1, 11)] + [prime_domain.task(Mode.ABDUCTION, 11, 1)]
    )
    counts = Counter(task.id for task in source.draw(Mode.DEDUCTION, [np.random.default_rng(0)] * 5000))
    assert len(counts) == 10
    assert all(420 < count < 580 for count in counts.values())
    assert [task.id for task in source.tasks(Mode.ABDUCTION)] == ["abduction-11-1"]
    with pytest.raises(SettingError, match="no induction task; it has abduction, deduction"):
        source.draw(Mode.INDUCTION, [np.random.default_rng(0)])
    with pytest.raises(UnknownNameError, match="'nope'"):
        source.get("nope")


@pytest.fixture
def stored(tmp_path: Path, prime_domain: PrimeInversionDomain) -> Iterator[Path]:
    path = tmp_path / "b.db"
    buffer = TaskBuffer(path)
    with buffer.step(0):
        tasks = [prime_domain.task(Mode.DEDUCTION, 11, x) for x in range(1, 6)]
        buffer.add([(task, prime_domain.identity(task)) for task in tasks], np.random.default_rng(0))
    yield path
    buffer.close()


def test_a_buffer_is_a_source(stored: Path, prime_domain: PrimeInversionDomain) -> None:
    source = registry.source(f"buffer:{stored}", prime_domain)
    drawn = source.draw(Mode.DEDUCTION, [np.random.default_rng(0)] * 40)
    assert {task.id for task in drawn} == {f"deduction-11-{x}" for x in range(1, 6)}
    assert source.get("deduction-11-2") == prime_domain.task(Mode.DEDUCTION, 11, 2)


def test_a_buffer_of_another_domain_is_refused(stored: Path, python_domain: PythonDomain) -> None:
    source = registry.source(f"buffer:{stored}", python_domain)
    with pytest.raises(SettingError, match="holds prime_inversion tasks: use domain='prime_inversion'"):
        source.draw(Mode.DEDUCTION, [np.random.default_rng(0)])
    with pytest.raises(SettingError, match="holds prime_inversion tasks"):
        source.get("deduction-11-2")


def test_a_file_that_is_no_buffer(tmp_path: Path, prime_domain: PrimeInversionDomain) -> None:
    (tmp_path / "x").write_text(row())
    with pytest.raises(BufferSchemaError):
        registry.source(f"buffer:{tmp_path / 'x'}", prime_domain)
    assert (tmp_path / "x").read_text() == row()


# CRUXEval, used in place

NOT_LITERALS = {f"sample_{k}" for k in (152, 239, 258, 344, 364, 378, 459, 522, 694, 720, 760, 770)}
"""Programs whose input is an expression: refused, with that reason."""


@pytest.fixture(scope="module")
def crux(python_domain: PythonDomain) -> ListSource:
    return cruxeval(str(CRUXEVAL), python_domain)


@needs_cruxeval
def test_cruxeval_has_800_programs_in_three_modes(crux: ListSource) -> None:
    assert [len(crux.tasks(mode)) for mode in Mode] == [800, 800, 800]
    assert crux.get("abduction-sample_7").mode is Mode.ABDUCTION


@needs_cruxeval
def test_every_gold_of_cruxeval_is_graded_correct(crux: ListSource, python_domain: PythonDomain) -> None:
    verifier = RelationVerifier(python_domain)
    for mode in (Mode.DEDUCTION, Mode.ABDUCTION):
        tasks = crux.tasks(mode)
        verdicts = verifier.verify([(task, prompts.key(task)) for task in tasks])
        wrong = {
            task.id.partition("-")[2]: verdict
            for task, verdict in zip(tasks, verdicts, strict=True)
            if verdict.status is not Status.CORRECT
        }
        assert set(wrong) == (set() if mode is Mode.DEDUCTION else NOT_LITERALS)
        assert {verdict.status for verdict in wrong.values()} <= {Status.REJECTED}


@needs_cruxeval
def test_a_task_that_we_cannot_read_is_our_error_and_not_the_solvers(
    crux: ListSource, python_domain: PythonDomain
) -> None:
    tasks = [crux.get(f"induction-{name}") for name in sorted(NOT_LITERALS)]
    verdicts = RelationVerifier(python_domain).verify([(task, "def f(*x): return 0") for task in tasks])
    assert {verdict.status for verdict in verdicts} == {Status.ERROR}


@needs_cruxeval
def test_cruxeval_is_python_only(prime_domain: PrimeInversionDomain) -> None:
    with pytest.raises(SettingError, match="domain='python'"):
        cruxeval(str(CRUXEVAL), prime_domain)


def test_sources_satisfy_the_protocol(builtin: BuiltinSource) -> None:
    assert isinstance(builtin, TaskSource)
    assert isinstance(ListSource([]), TaskSource)
