"""Objects of one image of a batch pasted into another, with their masks.

    x_i = m x_j + (1 - m) x_i        m the union of the masks of some of the objects of image j

What m covers of the objects of image i is taken off their masks, and their boxes shrink with them; of which
too little stays is no object any more, but a region to ignore.
Source: Ghiasi et al., Simple copy-paste is a strong data augmentation method for instance segmentation
(2021).
"""

from __future__ import annotations

import torch

from deeprob.geometry.boxes import of_mask
from deeprob.tasks.instance_segmentation.batch import InstanceBatch


def copy_paste(
    batch: InstanceBatch, probability: float, min_visible: float, generator: torch.Generator
) -> InstanceBatch:
    """Give an image, with a probability, about half of the objects of another one of the batch.

    min_visible: an object of whose mask a smaller part stays joins the crowds, with the box it had.
    """
    count = len(batch.images)
    if count < 2:
        return batch
    images = batch.images.clone()
    of_images = batch.boxes, batch.labels, batch.crowds, batch.masks
    boxes, labels, crowds, masks = ([*rows] for rows in of_images)
    mixed = torch.rand(count, generator=generator) < probability
    steps = torch.randint(1, count, (count,), generator=generator).tolist()
    for i in mixed.nonzero().flatten().tolist():
        j = (i + steps[i]) % count
        chosen = torch.rand(len(batch.masks[j]), generator=generator) < 0.5
        pasted = batch.masks[j][chosen]
        covered = pasted.any(0)
        images[i] = torch.where(covered, batch.images[j], images[i])
        left = batch.masks[i] & ~covered
        before, after = batch.masks[i].sum((1, 2)), left.sum((1, 2))
        kept = (after > 0) & (after >= min_visible * before)
        shrunk = batch.boxes[i].clone()
        for n in (kept & (after < before)).nonzero().flatten().tolist():
            shrunk[n] = torch.from_numpy(of_mask(left[n].numpy()))
        crowds[i] = torch.cat([batch.crowds[i], batch.boxes[i][~kept & (after > 0)]])
        masks[i] = torch.cat([left[kept], pasted])
        boxes[i] = torch.cat([shrunk[kept], batch.boxes[j][chosen]])
        labels[i] = torch.cat([batch.labels[i][kept], batch.labels[j][chosen]])
    return batch._replace(images=images, boxes=boxes, labels=labels, crowds=crowds, masks=masks)
