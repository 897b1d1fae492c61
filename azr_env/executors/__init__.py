"""Where programs run (floor 3). The default is :class:`azr_env.executors.zygote.ZygoteExecutor`."""
