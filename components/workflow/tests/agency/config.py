"""The component's definition; it has an instance of the workflow component for itself."""

from convexpy_workflow.config import workflow

from convexpy import define_component

agency = define_component("agency", functions="agency.component")
agency.use(workflow)
