"""Music in: sources, rendering, captions, datasets, and the latents of frozen codecs."""
