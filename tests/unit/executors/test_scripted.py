"""The scripted double answers what it was told, and records what it was asked."""

from __future__ import annotations

import pytest

from azr_env.errors import ExecutorClosedError
from azr_env.executors.scripted import ScriptedExecutor
from azr_env.protocols import Executor
from azr_env.types import Job, Outcome, OutcomeStatus

OK = Outcome(OutcomeStatus.OK, "i2;")


def test_is_an_executor() -> None:
    assert isinstance(ScriptedExecutor({}), Executor)


def test_answers_from_a_table_in_order_and_records() -> None:
    double = ScriptedExecutor({("p", "(i1;)"): OK}, default=Outcome(OutcomeStatus.RAISED, detail="E"))
    jobs = [Job("p", ("(i1;)", "()")), Job("q", ("()",))]
    assert [[o.status.value for o in each] for each in double.run(jobs)] == [["ok", "raised"], ["raised"]]
    assert double.jobs == jobs


def test_answers_from_a_function_that_sees_the_lane() -> None:
    double = ScriptedExecutor(lambda program, call, lane: Outcome(OutcomeStatus.OK, f"i{lane};"))
    assert [each[0].value for each in double.run([Job("p", ("()",)), Job("p", ("()",), lane=1)])] == ["i0;", "i1;"]
    assert double.run([Job("p", ("()",))])[0][0].level == "scripted"


def test_an_unknown_call_is_a_failure_of_the_script() -> None:
    ((outcome,),) = ScriptedExecutor({}).run([Job("p", ("()",))])
    assert outcome.status is OutcomeStatus.INFRA
    assert "'p'" in outcome.detail


def test_refuses_after_close() -> None:
    double = ScriptedExecutor({})
    double.close()
    double.close()
    with pytest.raises(ExecutorClosedError):
        double.run([])
