"""`doctor`: what this machine has, and what to do about what it lacks."""

import typer


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor() -> None:
    """Check Python, torch, CPU, GPU, audio files, FluidSynth and disk; exit 1 if something needed is missing."""
    from orchestrion.playing.checkup import check_up

    findings = check_up()
    for finding in findings:
        mark = "ok     " if finding.good else "MISSING" if finding.needed else "note   "
        typer.echo(f"{mark} {finding.what:<12} {finding.found}")
        if finding.fix:
            typer.echo(f"        {'':<12} -> {finding.fix}")
    if any(finding.needed and not finding.good for finding in findings):
        raise typer.Exit(1)
