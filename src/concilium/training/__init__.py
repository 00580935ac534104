"""The only gradient loop."""
