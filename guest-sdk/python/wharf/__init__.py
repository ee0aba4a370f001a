"""Makes wharf plugins of Python scripts that use the standard library's socketserver: `python -m wharf build`."""
