"""What travels between a hospital and the server, and how it is added up."""
