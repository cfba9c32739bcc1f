"""Managers, pools, workflows, policies and events that make no sense are refused while the app's modules are imported.

Each refusal is one sentence or more that says what was given, for which parameter, and what it takes.
"""

from __future__ import annotations

import re
from math import inf, nan

import pytest
from convexpy_workflow import Retry, WorkflowManager, Workpool, define_event
from refusals import FLAG, NO_COUNTS, PARALLELISM, WHOLE, Rows, each

from convexpy import components, internal

manager = WorkflowManager(components.workflow)
pool = Workpool(components.workpool)
NAMES = {"Retry": Retry, "WorkflowManager": WorkflowManager, "Workpool": Workpool, "define_event": define_event}
NAMES |= {"components": components, "internal": internal, "manager": manager, "pool": pool, "inf": inf, "nan": nan}

MANAGERS: Rows = [
    ("WorkflowManager('workflow')", "takes a reference to its component, components.NAME, not 'workflow'."),
    ("WorkflowManager(internal.flows)", "takes a reference to its component, components.NAME, not internal.flows."),
    ("WorkflowManager(components.workflow, default_retry=3)", "default_retry is a policy such as Retry("),
    ("WorkflowManager(components.workflow, retry_actions_by_default=1)", f"retry_actions_by_default {FLAG} 1."),
    ("WorkflowManager(components.workflow, queue='')", "queue is a text that is not empty."),
    ("WorkflowManager(components.workflow, queue=5)", "queue is a text, not 5."),
    *each("WorkflowManager(components.workflow, max_parallelism={})", (*NO_COUNTS, "1001", "10**400"), PARALLELISM),
]
POOLS: Rows = [
    ("Workpool(None)", "Workpool(…) takes a reference to its component, components.NAME, not None."),
    ("Workpool(components.workpool, default_retry=True)", "default_retry is a policy such as Retry("),
    ("Workpool(components.workpool, retry_actions_by_default='yes')", f"retry_actions_by_default {FLAG} 'yes'."),
    ("pool.on_complete(context=str)", "on_complete(context=…) takes a validator such as v.string(), not"),
    *each("Workpool(components.workpool, max_parallelism={})", (*NO_COUNTS, "1001"), PARALLELISM),
]
WORKFLOWS: Rows = [
    ("manager.define(on_mismatch='restrat')", "on_mismatch is 'stuck' or"),
    ("manager.define(on_unawaited='drop')", "on_unawaited is 'cancel' or 'wait', not 'drop'."),
    ("manager.define(default_retry=5)", "default_retry is a policy"),
    ("manager.define(retry_actions_by_default=0)", f"retry_actions_by_default {FLAG} 0."),
    ("manager.define(max_parallelism=-2)", PARALLELISM),
    ("manager.define(lambda step: None)", "A workflow is an `async def` function (step, …arguments), not"),
    ("manager.old_version(internal.flows.sums, 1)", "is no workflow. Pass what @workflow.define gave."),
    *each("manager.define(version={})", ("0", *NO_COUNTS), f"version {WHOLE} 1 to"),
]
POLICIES: Rows = [
    *each("Retry(attempts={})", ("0", *NO_COUNTS, "10**400"), f"Retry(attempts=…) {WHOLE} 1 to 1000000, not"),
    *each("Retry(base={})", ("0.5", "-1", "nan", "inf", "'2'", "True", "10**400"), "Retry(base=…) is a number from 1"),
    *each("Retry(initial={})", ("-1", "nan", "inf", "'1'", "True", "None", "1e300"), "Retry(initial=…) must be"),
]
EVENTS: Rows = [
    ("define_event('')", "An event has a name that is not empty, not ''."),
    ("define_event('\\ud800')", "The name of an event is Unicode text;"),
    ("define_event('a', 5)", "takes a convexpy validator such as v.boolean(), not 5."),
]


@pytest.mark.parametrize(("definition", "text"), [*MANAGERS, *POOLS, *WORKFLOWS, *POLICIES, *EVENTS])
def test_a_definition_that_makes_no_sense_is_refused(definition: str, text: str) -> None:
    with pytest.raises(Exception, match=re.escape(text)) as refused:
        eval(definition, NAMES)

    assert "\n" not in str(refused.value) and str(refused.value).endswith(".")


@pytest.mark.parametrize("policy", [Retry(attempts=1_000_000, initial=1e8, base=1000), Retry(initial=0, base=1000)])
def test_the_longest_wait_between_attempts_is_a_year(policy: Retry) -> None:
    """A longer one could not be scheduled, and then nothing would ever come of the step."""
    kept = Retry.from_fields(policy.to_fields())

    assert all(0 <= kept.delay_ms(failures, 0.999) <= 365 * 86_400_000 for failures in (1, 2, 500, 999_999))
