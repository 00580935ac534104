"""What carries questions to the clients and answers back. One file, one runtime."""
