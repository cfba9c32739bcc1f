"""A running deployment: data folder, processes, backend, scheduler and sockets, put together and taken apart."""
