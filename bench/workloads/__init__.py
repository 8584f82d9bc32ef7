"""What is run: the recorded calls of the six workloads, and the services and tools they need."""
