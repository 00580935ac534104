"""How an update is made smaller before it travels. One file, one compression."""
