"""Runs a shared workflow file from the command line, without ComfyUI, with the same node classes."""
