"""Ensembles as the admin API speaks them; `StoredEnsemble` is also the stored record.

Law: the same words and ranges as under `ensembles` in gateway.yaml, and the name beside them.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.domain.tenants.policies import ModelName, Usd
from app.kernel.money import format_usd, parse_usd
from app.settings.policy import EnsembleSettings, Normalize

EnsembleSource = Literal["api", "config"]

_MOST_MEMBERS = 8
_LONGEST_S = 86_400
_LEAST_LOGPROB = -1e9
_Places = Annotated[int, Meta(ge=1, le=_MOST_MEMBERS)]

EnsembleName = Annotated[ModelName, Meta(description="The model name by which clients ask for it.")]
StrategyName = Annotated[
    ModelName,
    Meta(
        description="`race`, `hedge`, `first_valid`, `quorum`, `best_of`, `mixture`, `cascade`, `compare`, or one that "
        "a package publishes."
    ),
]
Members = Annotated[
    list[ModelName],
    Meta(
        min_length=1,
        max_length=_MOST_MEMBERS,
        description="The models that are asked, in this order; one may be asked several times.",
    ),
]
Judge = Annotated[ModelName, Meta(description="The model that compares the answers, for `best_of`.")]
Fuser = Annotated[ModelName, Meta(description="The model that writes one answer from several, for `mixture`.")]
Rubric = Annotated[
    str,
    Meta(min_length=1, max_length=16_384, pattern=r"^[^\x00]*$", description="What the judge looks for, in words."),
]
Check = Annotated[
    dict[str, Any],
    Meta(description="What an answer must pass: `json_schema`, `regex`, or a `tool` whose arguments are valid."),
]
Quorum = Annotated[_Places, Meta(description="How many equal answers decide; elsewhere how many answers are enough.")]
NormalizeBy = Annotated[Normalize, Meta(description="Which answers are equal, for `quorum`.")]
Seconds = Annotated[float, Meta(gt=0, le=_LONGEST_S)]
AfterS = Annotated[Seconds, Meta(description="When `hedge` asks the next; null: as the one before is usually slow.")]
MinLogprob = Annotated[
    float, Meta(ge=_LEAST_LOGPROB, le=0, description="The least mean log-probability that `cascade` takes.")
]
Scorer = Annotated[ModelName, Meta(description="A published scorer that `best_of` uses instead of a judge.")]
MinSuccess = Annotated[
    _Places, Meta(description="How many members must answer; more than 1 only for `best_of`, `mixture` and `compare`.")
]
DeadlineS = Annotated[Seconds, Meta(description="When stragglers are cut, in seconds.")]
MaxCost = Annotated[Usd, Meta(description="The most that all members may cost together, USD.")]
ReturnCandidates = Annotated[bool, Meta(description="Whether all answers are returned beside the one.")]


class StoredEnsemble(msgspec.Struct, frozen=True, kw_only=True):
    """An ensemble made through the API."""

    id: UUID
    name: str
    strategy: str
    members: list[str]
    judge: str | None = None
    fuser: str | None = None
    rubric: str | None = None
    check: dict[str, Any] | None = None
    quorum: int | None = None
    normalize: Normalize = "text"
    after_s: float | None = None
    min_logprob: float | None = None
    scorer: str | None = None
    min_success: int = 1
    deadline_s: float | None = None
    max_cost: str | None = None
    return_candidates: bool = False
    created_at: datetime
    updated_at: datetime
    version: int = 1

    def as_settings(self) -> EnsembleSettings:
        """Return it as the file would say it; raises `ValueError` for an amount that is none."""
        said = {name: getattr(self, name) for name in _OF_FILE}
        max_cost_nusd = None if self.max_cost is None else parse_usd(self.max_cost)
        return EnsembleSettings(**said | {"members": tuple(self.members)}, max_cost_nusd=max_cost_nusd)


_OF_FILE = tuple(name for name in EnsembleSettings.__struct_fields__ if name != "max_cost_nusd")
"""What the file and the API say in the same form."""


class Ensemble(msgspec.Struct, frozen=True, kw_only=True):
    """Several models that answer as one. An ensemble of the file (`source` is `config`) wins, and is read-only here."""

    id: UUID
    name: EnsembleName
    strategy: StrategyName
    members: Members
    judge: Judge | None = None
    fuser: Fuser | None = None
    rubric: Rubric | None = None
    check: Check | None = None
    quorum: Quorum | None = None
    normalize: NormalizeBy = "text"
    after_s: AfterS | None = None
    min_logprob: MinLogprob | None = None
    scorer: Scorer | None = None
    min_success: MinSuccess = 1
    deadline_s: DeadlineS | None = None
    max_cost: MaxCost | None = None
    return_candidates: ReturnCandidates = False
    created_at: Annotated[datetime | None, Meta(description="Null of one of the file.")] = None
    updated_at: Annotated[datetime | None, Meta(description="Null of one of the file.")] = None
    version: Annotated[int | None, Meta(description="Counts changes; it is the ETag. Null of one of the file.")] = None
    source: EnsembleSource = "api"
    problem: Annotated[str | None, Meta(description="Why it is not served, if it is not.")] = None


class CreateEnsemble(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new ensemble.

    As in the file, `best_of` needs a judge or a scorer, `mixture` a fuser, `quorum` a quorum, `first_valid` a check.
    """

    name: EnsembleName
    strategy: StrategyName
    members: Members
    judge: Judge | None = None
    fuser: Fuser | None = None
    rubric: Rubric | None = None
    check: Check | None = None
    quorum: Quorum | None = None
    normalize: NormalizeBy = "text"
    after_s: AfterS | None = None
    min_logprob: MinLogprob | None = None
    scorer: Scorer | None = None
    min_success: MinSuccess = 1
    deadline_s: DeadlineS | None = None
    max_cost: MaxCost | None = None
    return_candidates: ReturnCandidates = False


class PatchEnsemble(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes to an ensemble: what is absent stays, null removes."""

    name: EnsembleName | UnsetType = UNSET
    strategy: StrategyName | UnsetType = UNSET
    members: Members | UnsetType = UNSET
    judge: Judge | UnsetType | None = UNSET
    fuser: Fuser | UnsetType | None = UNSET
    rubric: Rubric | UnsetType | None = UNSET
    check: Check | UnsetType | None = UNSET
    quorum: Quorum | UnsetType | None = UNSET
    normalize: NormalizeBy | UnsetType = UNSET
    after_s: AfterS | UnsetType | None = UNSET
    min_logprob: MinLogprob | UnsetType | None = UNSET
    scorer: Scorer | UnsetType | None = UNSET
    min_success: MinSuccess | UnsetType = UNSET
    deadline_s: DeadlineS | UnsetType | None = UNSET
    max_cost: MaxCost | UnsetType | None = UNSET
    return_candidates: ReturnCandidates | UnsetType = UNSET


def of_file(ensemble_id: UUID, name: str, ensemble: EnsembleSettings, *, problem: str | None = None) -> Ensemble:
    """Return an ensemble of the file as the API says it."""
    said = {field: getattr(ensemble, field) for field in _OF_FILE}
    nusd = ensemble.max_cost_nusd
    return Ensemble(
        **said | {"members": list(ensemble.members)},
        id=ensemble_id,
        name=name,
        max_cost=None if nusd is None else format_usd(nusd),
        source="config",
        problem=problem,
    )
