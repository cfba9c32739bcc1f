"""Durable workflows for convexpy: what an app imports. These names are the promise, no others are."""

from __future__ import annotations

from convexpy_workflow.errors import DeadlockError as DeadlockError
from convexpy_workflow.errors import DeterminismError as DeterminismError
from convexpy_workflow.errors import EventAlreadyConsumed as EventAlreadyConsumed
from convexpy_workflow.errors import EventAlreadySent as EventAlreadySent
from convexpy_workflow.errors import EventAlreadyWaiting as EventAlreadyWaiting
from convexpy_workflow.errors import EventError as EventError
from convexpy_workflow.errors import EventNotFound as EventNotFound
from convexpy_workflow.errors import InvalidWorkflowId as InvalidWorkflowId
from convexpy_workflow.errors import JournalTooLarge as JournalTooLarge
from convexpy_workflow.errors import NotAllowedInWorkflow as NotAllowedInWorkflow
from convexpy_workflow.errors import StalledError as StalledError
from convexpy_workflow.errors import StepCanceled as StepCanceled
from convexpy_workflow.errors import StepError as StepError
from convexpy_workflow.errors import StepFailed as StepFailed
from convexpy_workflow.errors import StepNotFound as StepNotFound
from convexpy_workflow.errors import ValueTooLarge as ValueTooLarge
from convexpy_workflow.errors import WorkflowError as WorkflowError
from convexpy_workflow.errors import WorkflowNotFound as WorkflowNotFound
from convexpy_workflow.errors import WorkflowNotRunning as WorkflowNotRunning
from convexpy_workflow.errors import WorkflowStillRunning as WorkflowStillRunning
from convexpy_workflow.events import Event as Event
from convexpy_workflow.events import define_event as define_event
from convexpy_workflow.events import v_event_id as v_event_id
from convexpy_workflow.manager import WorkflowManager as WorkflowManager
from convexpy_workflow.non_retryable import NonRetryableError as NonRetryableError
from convexpy_workflow.retries import Retry as Retry
from convexpy_workflow.step import Step as Step
from convexpy_workflow.validators import v_workflow_id as v_workflow_id
from convexpy_workflow.validators import v_workflow_step as v_workflow_step
from convexpy_workflow.workpool import Workpool as Workpool
from convexpy_workflow.workpool import v_on_complete_args as v_on_complete_args
from convexpy_workflow.workpool import v_result as v_result
from convexpy_workflow.workpool import v_retry as v_retry
from convexpy_workflow.workpool import v_work_id as v_work_id
