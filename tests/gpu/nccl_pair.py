"""Two processes of plain PyTorch add up a tensor over NCCL on one GPU, each with an NCCL_HOSTID of its own. Prints {"said": …}."""
import json
import os
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def rank_of_two(rank, folder):
    os.environ.update(NCCL_HOSTID=f"host{rank}", NCCL_SOCKET_IFNAME="lo")
    torch.cuda.set_device(0)
    dist.init_process_group("nccl", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    value = torch.full((1 << 20,), rank + 1.0, device="cuda")
    dist.all_reduce(value)
    torch.cuda.synchronize()
    if rank == 0:
        print(json.dumps(dict(said="added up" if bool((value == 3).all()) else f"added up wrongly: {value[0].item()}")), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(rank_of_two, (folder,), nprocs=2)
