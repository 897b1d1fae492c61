"""The strict executor: one locked server per core, one fork per job.

Covered: what a program can do to the host, to the server, to other jobs and to its own reward. Not covered: bugs of
the kernel, timing side channels between jobs, and a program that lies about its own result, which is
the same as returning that result.
"""

from azr_env.executors.zygote.client import Stats, ZygoteExecutor

__all__ = ["Stats", "ZygoteExecutor"]
