#!/bin/sh
# The bundled models, from the MIDI corpus to the package: sh recipes/release.sh path/to/pop909-001-849.zip
set -eu
orchestrion prepare "$1" -o corpora/pop909-mono --channels 1
orchestrion train spectral --size release --data corpora/pop909-mono -o runs/spectral-v1
python recipes/bundle.py runs/spectral-v1/model spectral-v1 \
    --summary "A codec for piano: mono 44.1 kHz, 64 numbers 21.5 times a second." \
    --data "POP909 (MIT) played by FluidSynth with FluidR3 GM (MIT). The songs that it arranges belong to their authors."
orchestrion train flow --size release --from spectral-v1 --data corpora/pop909-mono -o runs/piano-flow
python recipes/bundle.py runs/piano-flow/model piano-flow --codec spectral-v1 \
    --summary "Piano by rectified flow over spectral-v1." \
    --data "POP909 (MIT) played by FluidSynth with FluidR3 GM (MIT). The songs that it arranges belong to their authors."
