"""The contestants of the race, a file for each pair. They are imported in the peers' environments too: at their top
they import nothing but Python's own library, `contest.pair` and `contest.environment`."""

PAIRS = ("rave", "musika", "waveform_unet", "mel_unet", "audioldm", "musicgen", "encodec", "dac")
