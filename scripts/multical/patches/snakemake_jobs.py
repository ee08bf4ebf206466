"""Parts of `multical.patches.snakemake` that need modules of Snakemake that are slow to import.

Until snakemake > 9.27.1: records of the content before the job, and errors in functions of rules; a
handler of SIGTERM that waits for no lock.
"""

from __future__ import annotations

import os
from _thread import start_new_thread
from typing import Any

import snakemake.api  # noqa: F401  first, since the others import each other
from snakemake.dag import DAG
from snakemake.exceptions import WorkflowError
from snakemake.scheduling.job_scheduler import JobScheduler

from multical.patches.snakemake import said
from multical.patches.snakemake_speed import wake_later


class Graph(DAG):
    """Snakemake's graph of jobs, which is not built without jobs whose functions refuse.

    Snakemake takes files for given, if they exist and it cannot have the job that makes them.
    """

    async def init(self, progress: bool = False) -> None:
        said.clear()
        await super().init(progress)
        if said:
            raise WorkflowError(said[0])

    async def update(
        self,
        jobs: Any,
        file: Any = None,
        visited: Any = None,
        known_producers: Any = None,
        **more: Any,
    ) -> Any:
        """Add jobs that make a file; the one that is chosen, which its other readers take, too."""
        known = {} if known_producers is None else known_producers
        job = await super().update(jobs, file, visited, known, **more)
        if file is not None:
            known[file] = [job]
        return job

    def check_directory_outputs(self) -> None:
        """Refuse an output inside another one, for which Snakemake compares all of their parts."""
        outputs = {os.path.abspath(file) for job in self.jobs for file in job.output}  # noqa: PTH100
        around: set[str] = set()
        for folder in map(os.path.dirname, outputs):
            while folder not in around:
                around.add(folder)
                folder = os.path.dirname(folder)  # noqa: PTH120
        if around & outputs:
            super().check_directory_outputs()


class Scheduler(JobScheduler):
    """Snakemake's scheduler, which notes what inputs hold before it starts the jobs."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._job_selector = self.job_selector_greedy

    _schedule_reevalutation = wake_later

    def exit_gracefully(self, *signal: Any) -> None:
        """Note SIGTERM in a thread, since the main thread may hold the lock that this waits for."""
        start_new_thread(super().exit_gracefully, signal)

    def run(self, jobs: Any, executor: Any = None) -> None:
        if self.workflow.is_main_process and not (self.dryrun or self.touch):
            for job in jobs:
                for one in job if job.is_group() else [job]:
                    self.workflow.persistence.starting(one)
        super().run(jobs, executor)
