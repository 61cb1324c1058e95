"""The ensembles made through the admin API, in this process. Law: they lie under those of the file."""

from collections.abc import Mapping

from app.domain.ensembles.repository import EnsembleRepository
from app.domain.snapshots import Directory
from app.settings.policy import EnsembleSettings


class EnsembleDirectory(Directory[Mapping[str, EnsembleSettings]]):
    """Keeps the ensembles of one worker process up to date, by their names."""

    def __init__(self, repository: EnsembleRepository) -> None:
        super().__init__(repository.read_all, empty={}, kind="ensembles")
