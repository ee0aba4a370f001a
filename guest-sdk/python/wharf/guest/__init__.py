"""What a script meets instead of an operating system: at the build in plain Python, and then inside the plugin."""
