"""Pure solvers, schedules and guidance, shared by the generators."""
