"""Requests that are sent again after cut connections and killed servers, and answered exactly once all the same."""
