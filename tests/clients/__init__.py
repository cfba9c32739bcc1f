"""The official clients, unmodified, against a real server in processes of its own."""
