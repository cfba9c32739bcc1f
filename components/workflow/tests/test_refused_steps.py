"""What a handler asks for and makes no sense is an error at that very line; the run is none the worse for it."""

from __future__ import annotations

from flow_deployment import FlowDeployment
from refusals import Rows, each

KINDS = ("query", "mutation", "action", "workflow")
NAN, INF = "float('nan')", "float('inf')"
NO_DURATIONS = (NAN, INF, "-1", "'1'", "True", "None", "10**400")

WAITS: Rows = [
    *each("step.sleep({})", NO_DURATIONS, "The duration of step.sleep must be"),
    ("step.sleep(1, name=5)", "TypeError: name is a text, not 5."),
    ("step.sleep(1, name='')", "ValueError: name is a text that is not empty."),
    ("step.sleep(1, name='\\ud800')", "ValueError: name is Unicode text;"),
    (
        "step.sleep_until(5)",
        "TypeError: The instant of step.sleep_until is an aware datetime such as datetime.now(UTC)",
    ),
    (f"asyncio.sleep({NAN})", "ValueError"),
    (f"asyncio.sleep({INF})", "ValueError: A timer of a workflow is due before the year 10000, not in inf seconds."),
    ("asyncio.sleep(1e300)", "ValueError: A timer of a workflow is due before the year 10000, not in 1e+300 seconds."),
    ("asyncio.sleep(1e308)", "ValueError: A timer of a workflow is due before"),
    ("step.sleep(1e10)", "ValueError: The duration of step.sleep must be at most 5 years, 157680000 seconds"),
    ("step.await_event()", "EventError: Name is required if eventId is not specified"),
    ("step.await_event(5)", "EventError: An event is a name or what define_event made, not 5."),
    ("step.await_event('')", "EventError: An event is a name or what define_event made, not ''."),
    ("step.await_event(event_id=5)", "EventError: event_id is the text that create_event(…) returned, not 5."),
    ("step.await_event('e', name=5)", "TypeError: name is a text, not 5."),
]
OPTIONS: Rows = [
    (f"run_after={NAN}", "ValueError: run_after must be finite and not negative, not nan."),
    (f"run_after={INF}", "ValueError: run_after must be finite and not negative, not inf."),
    ("run_after=-1", "ValueError: run_after must be finite and not negative, not -1."),
    ("run_after='1'", "TypeError: run_after must be a timedelta or a number of seconds, not '1'."),
    ("run_at=5", "TypeError: run_at is an aware datetime such as datetime.now(UTC), not 5."),
    ("run_at=step.now().replace(tzinfo=None)", "ValueError: run_at: datetime.datetime("),
    ("name=5", "TypeError: name is a text, not 5."),
    ("name='x' * 2000", "ValueError: name is a text of at most 1000 characters, not of 2000."),
    ("unstable_args=1", "TypeError: unstable_args is True or False, not 1."),
]
ARGUMENTS: Rows = [
    ("5", "5 is no function reference."),
    ("'work:add', [1]", "TypeError: args are a dict by the names of the parameters"),
    ("'work:add', 0", "TypeError: args are a dict by the names of the parameters"),
    ("'work:add', {'name': object()}", "InvalidValue: "),
]
STEPS: Rows = [
    *((f"step.run_{kind}('work:add', {{}}, {option})", text) for kind in KINDS for option, text in OPTIONS),
    *((f"step.run_{kind}({given})", text) for kind in KINDS for given, text in ARGUMENTS),
    ("step.run_mutation('work:add', {}, inline=1)", "TypeError: inline is True or False, not 1."),
    ("step.run_action('work:add', {}, retry=3)", "TypeError: retry is True, False or a policy such as Retry("),
    ("step.run_workflow('flows:sums', {}, on_parent_cancel='keep')", 'on_parent_cancel is "cancel" or "abandon"'),
    ("step.with_options(retry=3)", "TypeError: retry is True, False or a policy"),
    ("step.with_options(unstable_args='no')", "TypeError: unstable_args is True or False, not 'no'."),
    ("step.patched(5)", "TypeError: The name of a patch is a text, not 5."),
    ("step.deprecate_patch('')", "ValueError: The name of a patch is a text that is not empty."),
]
WRONG_KINDS: Rows = [
    (
        "step.run_mutation('work:fail_action')",
        "step.run_mutation runs functions of that kind, and work:fail_action is one of",
    ),
    ("step.run_action('work:add', {'name': 'never'})", "is one of another: use step.run_mutation(…)."),
    ("step.run_query('work:add', {'name': 'never'})", "as Query, but it is defined as Mutation."),
]


def test_what_a_handler_asks_for_and_makes_no_sense_is_refused(deployment: FlowDeployment) -> None:
    """Only what names a function of another kind is a step, which fails: it would promise what it does not keep."""
    asked = [*WAITS, *STEPS, *WRONG_KINDS]
    run = deployment.start("refusals", {"calls": [call for call, _ in asked]})
    deployment.run_all_scheduled()

    status = deployment.status(run)
    assert status["type"] == "completed", status
    for (call, text), said in zip(asked, status["result"], strict=True):
        assert text in said, (call, said)
    steps = deployment.query("flows:steps", {"run": run})["page"]
    assert [step["runResult"]["kind"] for step in steps] == ["failed"] * len(WRONG_KINDS)
    assert deployment.counter("never") == 0
