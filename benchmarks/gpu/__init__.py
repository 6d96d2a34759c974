"""Everything that a GPU can tell in a few minutes, in one command: python -m benchmarks.gpu --minutes 4

The parts, in this order; each gets a share of the time, and begins whatever became of the ones before:

facts      the device, its measured peaks, versions
tests      tests/cuda, by pytest where it is installed
step       one step of the paper's projector, published form against ours: eager, as a CUDA graph, TF32, bfloat16
presets    seconds of each preset for one photo; when `balanced` reaches what `paper` ends with; cancelling
slider     from a moved slider to a JPEG, at 1024 px
hour       photos an hour, by photos together
training   seconds for 1,000 pictures at 128 and 256 px
profile    the ten kernels that take most of a step, and the share of the time in which the device is idle
compile    steps by torch.compile, last because compiling may take all that is left of the time

OUT.json and OUT.md are written after each figure, so that a run that is cut still counts. A figure that fails costs
that figure alone. `--tiny` rehearses all of it in small sizes, on any device.
"""
