"""What the kernels and the engine do on one GPU: right first, then how close to the hardware.

python -m tests.bench.gpu [--sections NAMES] [--deadline 570] [--out DIR] [--after DIR] [--smoke]

Needs torch, transformers and triton, and nothing of the web. Each section runs in a process of its own, for a bounded
time; what one has measured is kept whatever becomes of the others. A section that was not done goes on with the next
command that is given the same directory, if nothing else has changed.
"""
