import resource
resource.setrlimit(resource.RLIMIT_NPROC, (9999, 9999))
