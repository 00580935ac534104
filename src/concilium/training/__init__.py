"""The gradient loop: of one client, or the same steps of many clients at once."""
