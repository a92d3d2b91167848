#!/usr/bin/env bash
# accelerate 1.15.0 with torch 2.11.0: torchrun's processes on the CPU join, count each other, and do not share gradients.
#
# `Accelerator(kwargs_handlers=[InitProcessGroupKwargs(backend="gloo")])` under `torchrun --nproc_per_node 2`, without
# CUDA and without ACCELERATE_USE_CPU: `num_processes` is 2 and the process group works, but `distributed_type` is NO and
# `prepare` returns the bare module. Each process trains a model of its own, without an error or a warning. With
# ACCELERATE_USE_CPU=true, or `Accelerator(cpu=True)`, the type is MULTI_CPU and gradients are averaged.
#
# Expected of a good engineer: processes that joined are data parallel, or an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.11.0 accelerate==1.15.0 numpy==2.2.6
cat > "$folder/train.py" <<'PYTHON'
import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

accelerator = Accelerator(kwargs_handlers=[InitProcessGroupKwargs(backend="gloo")])
model = torch.nn.Linear(1, 1, bias=False)
prepared = accelerator.prepare(model)
rank = torch.distributed.get_rank()
prepared(torch.full((1, 1), float(rank + 1))).sum().backward()
gradients = [torch.zeros(1, 1) for _ in range(2)]
torch.distributed.all_gather(gradients, model.weight.grad)
if rank == 0:
    found = [gradient.item() for gradient in gradients]
    print(accelerator.num_processes, accelerator.distributed_type.value, type(prepared).__name__, found)
torch.distributed.destroy_process_group()
PYTHON
launch() { CUDA_VISIBLE_DEVICES="" "$folder/venv/bin/torchrun" --standalone --nproc_per_node 2 "$folder/train.py" 2>/dev/null; }
plain=$(launch)
told=$(ACCELERATE_USE_CPU=true launch)
echo "without the variable: $plain"
echo "with ACCELERATE_USE_CPU=true: $told"
[ "$plain" = "2 NO Linear [1.0, 2.0]" ]
[ "$told" = "2 MULTI_CPU DistributedDataParallel [1.5, 1.5]" ]
echo "as described"
