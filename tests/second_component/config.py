"""A component that is not the workflow: it carries parcels, and stores some of them in a component of its own."""

from convexpy import define_component

depot = define_component("depot", functions="tests.second_component.depot")

courier = define_component("courier", functions="tests.second_component.courier", before_push="parcels:before_push")
courier.use(depot)
