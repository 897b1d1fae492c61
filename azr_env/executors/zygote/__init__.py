"""The strict executor, one locked server per core and one fork per program, and its chunk level.

Covered: what a program can do to the host, to the server, to other jobs and to its own reward. Not covered: bugs of
the kernel, timing side channels between jobs, and a program that lies about its own result, which is
the same as returning that result.
"""

from azr_env.executors.zygote.chunk import ChunkStats, ZygoteChunkExecutor
from azr_env.executors.zygote.client import Stats, ZygoteExecutor

__all__ = ["ChunkStats", "Stats", "ZygoteChunkExecutor", "ZygoteExecutor"]
