"""The process and the machine: signals, files, memory, devices, compiled programs."""
