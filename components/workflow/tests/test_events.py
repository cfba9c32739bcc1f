"""Events on the real runtime: sent and awaited in any order, by name and by id, given back, refused, cleaned up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from convexpy_workflow.warm import warm_runs
from flow_deployment import FlowDeployment

from convexpy import ConvexpyError


def begin(deployment: FlowDeployment, flow: str, **args: Any) -> str:
    run: str = deployment.mutation(f"talks:{flow}", {"args": args})
    deployment.advance()
    return run


def send(
    deployment: FlowDeployment, run: str | None, name: str | None, event: str | None = None, **options: Any
) -> str:
    given = {"run": run, "name": name} | options
    sent: str = deployment.mutation(
        "talks:send",
        {"options": {key: value for key, value in given.items() if value is not None}}
        | ({} if event is None else {"event": event}),
    )
    return sent


def states(deployment: FlowDeployment) -> list[str]:
    return [row["state"] for row in sorted(deployment.rows("events"), key=lambda row: row["_creationTime"])]


def result(deployment: FlowDeployment, run: str) -> Any:
    deployment.advance()
    status = deployment.status(run)
    assert status["type"] == "completed", status
    return status["result"]


def test_an_event_that_is_awaited_completes_its_step_when_it_is_sent(deployment: FlowDeployment) -> None:
    run = begin(deployment, "hears", name="answer", count=1)
    [step] = deployment.status(run)["running"]
    assert (step["kind"], step["name"], step["runResult"]) == ("event", "answer", None)
    [event] = deployment.rows("events")
    assert (step["eventId"], event["state"]) == (event["_id"], "waiting")

    assert send(deployment, run, "answer", value={"n": [1, None]}) == event["_id"]

    assert result(deployment, run) == [{"n": [1, None]}]
    assert states(deployment) == ["consumed"]


def test_events_sent_before_they_are_awaited_are_kept_in_order(deployment: FlowDeployment) -> None:
    run = begin(deployment, "hears_later", name="answer", count=3)
    for value in ("first", "second", "third"):
        send(deployment, run, "answer", value=value)
    send(deployment, run, "another", value="not for it")
    assert states(deployment) == ["sent"] * 4

    deployment.advance(60)

    assert result(deployment, run) == ["first", "second", "third"]
    assert states(deployment) == ["consumed"] * 3 + ["sent"]


def test_waits_for_one_name_are_served_in_the_order_of_waiting(deployment: FlowDeployment) -> None:
    run = begin(deployment, "hears_at_once", name="answer", count=3)
    for value in (1, 2, 3):
        send(deployment, run, "answer", value=value)

    assert result(deployment, run) == [1, 2, 3]


def test_a_value_left_out_is_none(deployment: FlowDeployment) -> None:
    run = begin(deployment, "hears", name="answer", count=1)
    send(deployment, run, "answer")
    assert result(deployment, run) == [None]


@pytest.mark.parametrize("flow", ["hears", "hears_later", "hears_at_once"])
def test_a_run_can_be_sent_events_by_the_transaction_that_starts_it(deployment: FlowDeployment, flow: str) -> None:
    run = deployment.mutation("talks:start_and_send", {"flow": flow, "name": "x", "values": ["a", "b"]})
    deployment.advance(60)
    assert result(deployment, run) == ["a", "b"]


@pytest.mark.parametrize("how", ["approve_in_action", "approve_in_blocking_action"])
def test_an_action_can_send(deployment: FlowDeployment, how: str) -> None:
    run = begin(deployment, "asks")
    with pytest.raises(ConvexpyError, match="Event 'approval': "):
        deployment.action(f"talks:{how}", {"run": run, "value": {"approved": 1}})
    deployment.action(f"talks:{how}", {"run": run, "value": {"approved": True}})
    assert result(deployment, run) == {"approved": True}


def test_a_send_is_part_of_its_transaction(deployment: FlowDeployment) -> None:
    run = begin(deployment, "hears", name="answer", count=1)
    with pytest.raises(ConvexpyError, match="the sender is broken"):
        deployment.mutation("talks:send_and_fail", {"run": run, "name": "answer"})
    deployment.advance()
    assert deployment.status(run)["type"] == "inProgress"
    assert states(deployment) == ["waiting"]


def test_a_step_can_send_to_its_own_run(deployment: FlowDeployment) -> None:
    run = begin(deployment, "answers_itself")
    assert result(deployment, run) == ["from a step", "from a step"]


def test_an_error_raises_at_the_await(deployment: FlowDeployment) -> None:
    run = begin(deployment, "asks")
    send(deployment, run, "approval", error="the boss is away")
    assert result(deployment, run) == ["refused", "the boss is away", 0, "approval"]


def test_a_validator_is_applied_by_the_sender(deployment: FlowDeployment) -> None:
    run = begin(deployment, "asks")
    with pytest.raises(ConvexpyError, match=r"(?s)Event 'approval': .*v\.boolean\(\)"):
        deployment.mutation("talks:approve", {"run": run, "value": {"approved": "yes"}})
    end = deployment.run(lambda ctx: ctx.db.insert("ends", {"run": run, "result": 1, "context": None}))
    with pytest.raises(ConvexpyError, match=r'does not match the table name in validator `v\.id\("counters"\)`'):
        deployment.mutation("talks:approve", {"run": run, "value": {"approved": True, "counter": end}})
    assert deployment.status(run)["type"] == "inProgress"

    counter = deployment.run(lambda ctx: ctx.db.insert("counters", {"name": "votes", "value": 1}))
    deployment.mutation("talks:approve", {"run": run, "value": {"approved": True, "counter": counter}})

    assert result(deployment, run) == {"approved": True, "counter": counter}


def test_a_validator_is_applied_again_at_the_await(deployment: FlowDeployment) -> None:
    run = begin(deployment, "asks")
    send(deployment, run, "approval", value={"approved": "by somebody who only knows the name"})
    kind, text = result(deployment, run)
    assert kind == "does not fit"
    assert text.startswith("Event 'approval': ")
    assert "approved" in text


# --- by id


def test_an_event_can_be_created_then_sent_and_awaited_by_its_id(deployment: FlowDeployment) -> None:
    run = begin(deployment, "awaits_ids", wait=60)
    one, two = (deployment.mutation("talks:create", {"name": "answer", "run": run}) for _ in range(2))
    send(deployment, None, None, event=two, value="two")  # buffered: nobody awaits it yet
    for event in (two, one):
        send(deployment, run, "next id", value=event)
    deployment.advance()
    send(deployment, run, "answer", event=one, value="one")
    send(deployment, run, "next id", value="")

    assert result(deployment, run) == ["two", "one"]


def test_what_cannot_be_sent_by_id_is_refused(deployment: FlowDeployment) -> None:
    run = begin(deployment, "awaits_ids", wait=60)
    event = deployment.mutation("talks:create", {"name": "answer", "run": run})
    other = begin(deployment, "hears", name="x", count=1)
    with pytest.raises(ConvexpyError, match=f"Event {event} has the name 'answer', not 'question'"):
        send(deployment, run, "question", event=event)
    with pytest.raises(ConvexpyError, match=f"Event not found: {event}"):
        send(deployment, other, None, event=event)
    send(deployment, None, None, event=event, value=1)
    with pytest.raises(ConvexpyError, match=f"Event already sent: {event}"):
        send(deployment, None, None, event=event, value=2)
    send(deployment, run, "next id", value=event)
    deployment.advance()
    with pytest.raises(ConvexpyError, match=f"Event already consumed: {event}"):
        send(deployment, None, None, event=event, value=3)
    for unknown in ("", "junk", run):
        with pytest.raises(ConvexpyError, match=f"Event not found: {unknown}"):
            send(deployment, run, None, event=unknown)


def test_an_event_that_is_delivered_but_not_taken_yet_cannot_be_sent_again(deployment: FlowDeployment) -> None:
    run = begin(deployment, "hears", name="answer", count=1)
    event = send(deployment, run, "answer", value=1)
    with pytest.raises(ConvexpyError, match=f"Event already sent: {event}"):
        send(deployment, None, None, event=event, value=2)
    assert result(deployment, run) == [1]


def test_what_cannot_be_awaited_by_id_raises_at_the_await(deployment: FlowDeployment) -> None:
    run = begin(deployment, "awaits_ids", wait=60)
    event = deployment.mutation("talks:create", {"name": "answer", "run": run})
    send(deployment, None, None, event=event, value="once")
    for each in (event, event, "junk", ""):
        send(deployment, run, "next id", value=each)
        deployment.advance()

    assert result(deployment, run) == [
        "once",
        f"EventAlreadyConsumed: Event already consumed: {event}",
        "EventNotFound: Event not found: junk",
    ]


def test_one_id_cannot_be_awaited_twice_at_a_time(deployment: FlowDeployment) -> None:
    run = begin(deployment, "awaits_one_id_twice")
    event = deployment.mutation("talks:create", {"name": "answer", "run": run})
    send(deployment, run, "which", value=event)
    deployment.advance()
    assert [step["name"] for step in deployment.status(run)["running"]] == ["first"]
    send(deployment, None, None, event=event, value="ok")

    assert result(deployment, run) == [f"EventAlreadyWaiting: Event already waiting: {event}", "ok"]


def test_name_and_run_are_needed_where_no_id_is_given(deployment: FlowDeployment) -> None:
    run = begin(deployment, "hears", name="x", count=1)
    with pytest.raises(ConvexpyError, match="Name is required if eventId is not specified"):
        send(deployment, run, None)
    with pytest.raises(ConvexpyError, match="workflowId is required if eventId is not specified"):
        send(deployment, None, "x")
    with pytest.raises(ConvexpyError, match="a value or an error, not both"):
        send(deployment, run, "x", value=1, error="no")


def test_a_wait_by_name_hears_an_event_that_is_sent_by_an_id_of_that_name(deployment: FlowDeployment) -> None:
    """It waited before the event was created, so it has another; but it asked for the name."""
    run = begin(deployment, "hears", name="answer", count=1)
    event = deployment.mutation("talks:create", {"name": "answer", "run": run})
    send(deployment, None, None, event=event, value="by id")
    assert result(deployment, run) == ["by id"]
    assert states(deployment) == ["consumed", "consumed"]
    with pytest.raises(ConvexpyError, match=f"Workflow not running: {run}"):
        send(deployment, None, None, event=event)


def test_a_step_sends_by_id_to_a_wait_of_the_same_wave(deployment: FlowDeployment) -> None:
    run = begin(deployment, "answers_by_id")
    assert result(deployment, run) == "by id"


# --- waits that end


def test_a_wait_has_its_timeout_and_the_event_goes_to_the_next_await(deployment: FlowDeployment) -> None:
    run = begin(deployment, "patient", patience=[10, 10])
    deployment.advance(15)
    assert [step["stepNumber"] for step in deployment.status(run)["running"]] == [1]
    send(deployment, run, "answer", value="to the second")
    deployment.advance(30)
    send(deployment, run, "answer", value="to the last")

    assert result(deployment, run) == ["late", "to the second", "to the last"]
    assert len(deployment.rows("events")) == 2  # events that were given back are used again


def test_an_event_sent_while_nobody_waits_is_kept_between_two_waits(deployment: FlowDeployment) -> None:
    run = begin(deployment, "patient", patience=[10])
    for value in (1, 2, 3):
        send(deployment, run, "answer", value=value)
    assert result(deployment, run) == [1, 2]
    assert states(deployment).count("sent") == 1


def test_a_value_that_comes_too_late_for_its_wait_is_not_lost(deployment: FlowDeployment) -> None:
    """It was delivered to a step, but that step is given up before the wave that would have taken it."""
    run = begin(deployment, "patient", patience=[10])
    deployment.clock.advance(11)  # the timer is due, but its wave has not run
    send(deployment, run, "answer", value="just too late")

    assert result(deployment, run) == ["late", "just too late"]


@pytest.mark.parametrize(
    ("order", "expected"), [(["left", "right", "left"], [0, 2, 1]), (["right", "left", "right"], [0, 1, 2])]
)
def test_the_first_event_of_a_race_wins_and_the_others_wait_for_the_next(
    deployment: FlowDeployment, order: list[str], expected: list[int]
) -> None:
    run = begin(deployment, "races")
    for number, name in enumerate(order):
        send(deployment, run, name, value=number)
        deployment.advance()

    assert result(deployment, run) == expected


def test_all_events_of_a_race_sent_at_once(deployment: FlowDeployment) -> None:
    """What lost is given back with its value."""
    run = begin(deployment, "races")
    send(deployment, run, "right", value="r")
    send(deployment, run, "left", value="l")
    deployment.advance()
    send(deployment, run, "right", value="r2")

    assert result(deployment, run) == ["r", "l", "r2"]


def test_a_wait_by_id_that_ends_gives_the_event_back(deployment: FlowDeployment) -> None:
    run = begin(deployment, "awaits_ids", wait=10)
    event = deployment.mutation("talks:create", {"name": "answer", "run": run})
    send(deployment, run, "next id", value=event)
    deployment.advance(15)
    send(deployment, None, None, event=event, value="late but here")
    send(deployment, run, "next id", value=event)
    deployment.advance()
    send(deployment, run, "next id", value="")

    assert result(deployment, run) == ["late", "late but here"]


# --- the end of a run


def test_a_finished_run_takes_no_events(deployment: FlowDeployment) -> None:
    ended = begin(deployment, "leaves")
    event = deployment.rows("events")[0]["_id"]
    deployment.advance(60)
    canceled = begin(deployment, "hears", name="answer", count=1)
    deployment.mutation("flows:cancel", {"run": canceled})

    assert states(deployment) == ["created", "created"]
    for run in (ended, canceled):
        with pytest.raises(ConvexpyError, match=f"Workflow not running: {run}"):
            send(deployment, run, "answer")
        with pytest.raises(ConvexpyError, match=f"Workflow not running: {run}"):
            deployment.mutation("talks:create", {"name": "answer", "run": run})
    with pytest.raises(ConvexpyError, match=f"Workflow not running: {ended}"):
        send(deployment, None, None, event=event)
    deployment.advance(timedelta(days=1))
    assert [deployment.status(run)["type"] for run in (ended, canceled)] == ["completed", "canceled"]


def test_an_event_sent_just_before_a_cancel_is_dropped_with_the_run(deployment: FlowDeployment) -> None:
    run = begin(deployment, "hears", name="answer", count=1)
    send(deployment, run, "answer", value=1)
    deployment.mutation("flows:cancel", {"run": run})
    deployment.advance()
    assert deployment.status(run) == {"type": "canceled"}
    assert states(deployment) == ["sent"]


@pytest.mark.parametrize("size", [10, 300_000])
def test_cleanup_deletes_events_in_every_state(deployment: FlowDeployment, size: int) -> None:
    run = begin(deployment, "patient", patience=[10, 10])
    kept = begin(deployment, "hears", name="x", count=1)
    deployment.mutation("talks:create", {"name": "other", "run": run})
    send(deployment, run, "answer", value=b"v" * size)
    deployment.advance()
    send(deployment, run, "elsewhere", value=b"v" * size)
    assert sorted(states(deployment)) == ["consumed", "created", "sent", "waiting", "waiting"]

    assert deployment.mutation("flows:cleanup", {"run": run, "force": True})
    deployment.run_all_scheduled()

    assert {row["workflow"] for table in ("events", "steps") for row in deployment.rows(table)} == {kept}
    assert deployment.rows("large_values") == []
    with pytest.raises(ConvexpyError, match=f"Workflow not found: {run}"):
        send(deployment, run, "answer")


@pytest.mark.parametrize("flow", ["hears", "hears_later"])
def test_a_deeply_nested_value_arrives(deployment: FlowDeployment, flow: str) -> None:
    value: Any = 1.0
    for _ in range(12):
        value = [value]
    run = begin(deployment, flow, name="answer", count=1)
    send(deployment, run, "answer", value=value)
    deployment.advance(61)
    assert deployment.rows("steps")[-1]["outcome"] == {"kind": "success", "value": value}
    with pytest.raises(ConvexpyError, match="Event value too nested"):
        send(deployment, run, "answer", value=[value])


def test_a_large_value_is_kept_once(deployment: FlowDeployment) -> None:
    run = begin(deployment, "hears", name="answer", count=2)
    send(deployment, run, "answer", value=b"v" * 300_000)
    assert len(deployment.rows("large_values")) == 1
    deployment.advance()
    assert len(deployment.rows("large_values")) == 1  # the step's now
    with pytest.raises(ConvexpyError, match="Event value too large"):
        send(deployment, run, "answer", value=b"v" * 900_000)


# --- restart of the server, and of the run


def test_events_outlive_their_server(deployment: FlowDeployment) -> None:
    """With each restart the handler is run again over its journal."""
    run = begin(deployment, "patient", patience=[10, 1000])
    for act in (
        lambda: deployment.advance(20),
        lambda: send(deployment, run, "answer", value="one"),
        lambda: deployment.advance(),
        lambda: send(deployment, run, "answer", value="two"),
    ):
        act()
        warm_runs.clear()
        deployment.restart()

    assert result(deployment, run) == ["late", "one", "two"]


def test_a_restarted_run_waits_again(deployment: FlowDeployment) -> None:
    run = begin(deployment, "hears", name="answer", count=2)
    send(deployment, run, "answer", value=1)
    deployment.advance()
    deployment.mutation("flows:cancel", {"run": run})
    deployment.mutation("flows:restart", {"run": run, "options": {}})
    send(deployment, run, "answer", value=2)
    assert result(deployment, run) == [1, 2]

    deployment.mutation("flows:restart", {"run": run, "options": {"from_": 1}})
    assert states(deployment) == ["consumed", "waiting"]
    send(deployment, run, "answer", value=3)
    assert result(deployment, run) == [1, 3]


def test_a_wait_that_takes_over_a_given_up_event_comes_after_those_that_wait_already(
    deployment: FlowDeployment,
) -> None:
    """The first of two waits ends, and a third one begins: the second has waited longest now."""
    run = begin(deployment, "lines_up")
    deployment.advance(10)
    for value in ("first", "second"):
        send(deployment, run, "answer", value=value)

    assert result(deployment, run) == ["late", "first", "second"]
