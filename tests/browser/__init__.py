"""Tests in a real browser, with ComfyUI's own page. README.md says how to write one."""
